# Decides every request to Somabrain. Deny by default: a request passes where every condition of `allow` holds in
# as many words, and each one that does not hold is a sentence in `deny`.
#
# input    = {method, path: [string], action, tenant, namespace, resource: {kind, id},
#             user: {subject, tenant, roles: [string]}, usage: {name: number}}
# decision = {allow: boolean, deny: [sentence], limit: null or {retry_after_s: seconds}}
package somabrain.option

import rego.v1

# The least role for each action. Actions are the API's operation ids; one that is not listed is denied to all.
least_role := {
	"act": "brain_reader",
	"calibration_get": "brain_reader",
	"consolidation_get": "brain_reader",
	"diagnosis_get": "brain_reader",
	"episode_get": "brain_reader",
	"memory_get": "brain_reader",
	"memory_recall": "brain_reader",
	"namespace_list": "brain_reader",
	"option_get": "brain_reader",
	"option_list": "brain_reader",
	"option_model_get": "brain_reader",
	"option_search": "brain_reader",
	"plan": "brain_reader",
	"predict": "brain_reader",
	"state_get": "brain_reader",
	"state_list": "brain_reader",
	"episode_outcome": "brain_writer",
	"episode_record": "brain_writer",
	"episode_record_batch": "brain_writer",
	"execution_record": "brain_writer",
	"execution_record_batch": "brain_writer",
	"memory_forget": "brain_writer",
	"memory_remember": "brain_writer",
	"memory_remember_batch": "brain_writer",
	"option_create": "brain_writer",
	"option_replace": "brain_writer",
	"option_retire": "brain_writer",
	"trace_record_batch": "brain_writer",
	"consolidate": "brain_admin",
	"event_list": "brain_admin",
	"model_export": "brain_admin",
	"model_import": "brain_admin",
	"namespace_delete": "brain_admin",
}

# A role may do what the roles below it may.
rank := {"brain_reader": 1, "brain_writer": 2, "brain_admin": 3}

methods := {"DELETE", "GET", "POST", "PUT"}

# The alphabet of tenants and namespaces.
name_pattern := `^[A-Za-z0-9._-]{1,64}$`

# Rates are counted by the minute, so no wait is longer.
window_s := 60

decision := {"allow": allow, "deny": deny, "limit": limit}

default allow := false

allow if {
	method_known
	path_named
	action_known
	tenant_named
	tenant_own
	namespace_named
	resource_named
	subject_named
	roles_listed
	role_held
	usage_counted
	within_rate
}

# Each sentence negates a rule, never a call: whether `not f(input.missing)` holds differs between engines.

deny contains "the method is not one of DELETE, GET, POST and PUT" if not method_known

deny contains "the path is not a list of strings" if not path_named

deny contains "this policy does not know the action" if not action_known

deny contains "the tenant is not 1 to 64 of A-Za-z0-9._-" if not tenant_named

deny contains "the tenant is not the caller's own" if not tenant_own

deny contains "the namespace is not 1 to 64 of A-Za-z0-9._-" if not namespace_named

deny contains "the resource has no kind, or an id that is not a string" if not resource_named

deny contains "the caller has no name" if not subject_named

deny contains "the caller's roles are not a list of strings" if not roles_listed

deny contains sentence if {
	action_known
	not role_held
	sentence := concat("", [input.action, " needs the role ", least_role[input.action], " or a higher one"])
}

deny contains "the usage holds no request rate and no limit" if not usage_counted

deny contains "the tenant made more requests in the last minute than it may" if over_rate

method_known if {
	is_string(input.method)
	input.method in methods
}

path_named if {
	is_array(input.path)
	count(input.path) > 0
	every part in input.path { is_string(part) }
}

action_known if {
	is_string(input.action)
	least_role[input.action]
}

tenant_named if {
	is_string(input.tenant)
	regex.match(name_pattern, input.tenant)
}

tenant_own if {
	is_string(input.tenant)
	is_string(input.user.tenant)
	input.tenant == input.user.tenant
}

namespace_named if {
	is_string(input.namespace)
	regex.match(name_pattern, input.namespace)
}

resource_named if {
	is_string(input.resource.kind)
	input.resource.kind != ""
	resource_id_allowed
}

resource_id_allowed if is_null(input.resource.id)

resource_id_allowed if is_string(input.resource.id)

subject_named if {
	is_string(input.user.subject)
	input.user.subject != ""
}

# `in` also matches the values of an object.
roles_listed if {
	is_array(input.user.roles)
	every role in input.user.roles { is_string(role) }
}

role_held if {
	action_known
	roles_listed
	some role in input.user.roles
	rank[role] >= rank[least_role[input.action]]
}

# `null < 60` is true: values of different types have an order too.
usage_counted if {
	is_number(input.usage.requests_last_minute)
	is_number(input.usage.requests_per_minute_max)
}

within_rate if {
	usage_counted
	input.usage.requests_last_minute <= input.usage.requests_per_minute_max
}

over_rate if {
	usage_counted
	input.usage.requests_last_minute > input.usage.requests_per_minute_max
}

default limit := null

limit := {"retry_after_s": wait_s} if over_rate

# Whole seconds until the rate is counted afresh, at least 1; the whole window where that is not known.
default wait_s := 60

wait_s := max([1, ceil(input.usage.seconds_to_reset)]) if {
	is_number(input.usage.seconds_to_reset)
	input.usage.seconds_to_reset <= window_s
}
