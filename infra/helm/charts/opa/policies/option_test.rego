# Run with `opa test infra/helm/charts/opa/policies`.
package somabrain.option_test

import rego.v1

import data.somabrain.option

valid := {
	"method": "POST",
	"path": ["oak", "plan"],
	"action": "plan",
	"tenant": "acme",
	"namespace": "default",
	"resource": {"kind": "plan", "id": null},
	"user": {"subject": "agent-7", "tenant": "acme", "roles": ["brain_reader"]},
	"usage": {"requests_last_minute": 3, "requests_per_minute_max": 10, "seconds_to_reset": 12.2},
}

readers := {
	"act", "calibration_get", "consolidation_get", "diagnosis_get", "episode_get",
	"memory_get", "memory_recall", "namespace_list", "option_get", "option_list", "option_model_get",
	"option_search", "plan", "predict", "state_get", "state_list",
}

writers := {
	"episode_outcome", "episode_record", "episode_record_batch",
	"execution_record", "execution_record_batch", "memory_forget", "memory_remember",
	"memory_remember_batch", "option_create", "option_replace", "option_retire",
	"trace_record_batch",
}

admins := {"consolidate", "event_list", "model_export", "model_import", "namespace_delete"}

actions := (readers | writers) | admins

may := {"brain_reader": readers, "brain_writer": (readers | writers), "brain_admin": actions}

asked(action, roles) := json.patch(valid, [
	{"op": "replace", "path": "/action", "value": action},
	{"op": "replace", "path": "/user/roles", "value": roles},
])

replaced(path, value) := json.patch(valid, [{"op": "add", "path": path, "value": value}])

removed(path) := json.patch(valid, [{"op": "remove", "path": path}])

test_a_valid_request_passes_without_a_word if {
	option.decision == {"allow": true, "deny": set(), "limit": null} with input as valid
}

test_each_role_may_what_the_table_says if {
	every role, allowed in may {
		passed := {action | some action in actions; option.decision.allow with input as asked(action, [role])}
		passed == allowed
	}
}

test_the_table_lists_nothing_else if {
	object.keys(option.least_role) == actions
}

test_the_highest_role_counts if {
	option.decision.allow with input as asked("event_list", ["other", "brain_reader", "brain_admin"])
}

test_the_reason_names_the_role_needed if {
	decision := option.decision with input as asked("option_create", ["brain_reader"])
	decision.deny == {"option_create needs the role brain_writer or a higher one"}
}

test_without_a_known_role_nothing_passes if {
	every roles in [[], ["brain"], ["BRAIN_ADMIN"], ["admin"]] {
		every action in actions {
			decision := option.decision with input as asked(action, roles)
			decision.allow == false
			count(decision.deny) == 1
		}
	}
}

test_an_unknown_action_is_denied_to_all if {
	decision := option.decision with input as asked("consider", ["brain_admin"])
	decision == {"allow": false, "deny": {"this policy does not know the action"}, "limit": null}
}

test_another_tenant_is_denied_to_all if {
	document := json.patch(asked("plan", ["brain_admin"]), [{"op": "replace", "path": "/tenant", "value": "globex"}])
	decision := option.decision with input as document
	decision == {"allow": false, "deny": {"the tenant is not the caller's own"}, "limit": null}
}

test_a_missing_part_is_denied if {
	every path in [
		"/method", "/path", "/action", "/tenant", "/namespace", "/resource", "/resource/kind", "/resource/id",
		"/user", "/user/subject", "/user/tenant", "/user/roles", "/usage", "/usage/requests_last_minute",
		"/usage/requests_per_minute_max",
	] {
		decision := option.decision with input as removed(path)
		decision.allow == false
		count(decision.deny) > 0
	}
}

test_a_part_of_another_type_is_denied if {
	every path in [
		"/method", "/path", "/action", "/tenant", "/namespace", "/resource", "/resource/kind", "/resource/id",
		"/user", "/user/subject", "/user/tenant", "/user/roles", "/usage", "/usage/requests_last_minute",
		"/usage/requests_per_minute_max",
	] {
		every value in [true, {"0": "brain_admin"}, [["brain_admin"]], {}] {
			decision := option.decision with input as replaced(path, value)
			decision.allow == false
			count(decision.deny) > 0
		}
	}
}

test_an_object_is_no_list_of_roles if {
	decision := option.decision with input as replaced("/user/roles", {"role": "brain_admin"})
	decision.allow == false
}

test_no_document_is_denied if {
	every document in [null, true, 1, "plan", [], {}] {
		decision := option.decision with input as document
		decision.allow == false
		count(decision.deny) > 0
		decision.limit == null
	}
}

test_malformed_names_are_denied if {
	every name in ["", "a b", "a/b", "ä", "a\n", "../a", concat("", [c | some _ in numbers.range(1, 65); c := "a"])] {
		document := json.patch(valid, [
			{"op": "replace", "path": "/tenant", "value": name},
			{"op": "replace", "path": "/user/tenant", "value": name},
		])
		nobody := option.decision with input as document
		nobody == {"allow": false, "deny": {"the tenant is not 1 to 64 of A-Za-z0-9._-"}, "limit": null}
		nowhere := option.decision with input as replaced("/namespace", name)
		nowhere == {"allow": false, "deny": {"the namespace is not 1 to 64 of A-Za-z0-9._-"}, "limit": null}
	}
}

test_the_limit_itself_passes if {
	option.decision.allow with input as replaced("/usage/requests_last_minute", 10)
}

test_above_the_limit_the_wait_is_told_in_whole_seconds if {
	decision := option.decision with input as replaced("/usage/requests_last_minute", 11)
	decision == {
		"allow": false,
		"deny": {"the tenant made more requests in the last minute than it may"},
		"limit": {"retry_after_s": 13},
	}
}

test_an_unknown_wait_is_the_window if {
	every seconds in [null, "12", [], 61] {
		document := json.patch(valid, [
			{"op": "replace", "path": "/usage/requests_last_minute", "value": 11},
			{"op": "replace", "path": "/usage/seconds_to_reset", "value": seconds},
		])
		decision := option.decision with input as document
		decision.limit == {"retry_after_s": 60}
	}
}

test_null_is_not_below_the_limit if {
	decision := option.decision with input as replaced("/usage/requests_last_minute", null)
	decision.allow == false
	decision.limit == null
}
