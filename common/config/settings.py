"""Every number and address that changes what the service does.

One immutable `Settings`, read from the environment and a `.env` file (pydantic-settings). It opens
nothing and there is no shared instance: `somabrain.bootstrap` makes one and hands out what each
part asks for. A number that tunes behaviour belongs here; definitional constants stand beside the
formula they define.
"""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsError(Exception):
    """One line that names the setting and what is wrong with it."""


class Settings(BaseSettings):
    """The settings of one process. Names in the environment are the upper-case field names."""

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True, case_sensitive=False
    )

    enable_oak: bool = Field(
        default=True, description="Serve the option layer; off, every /oak route is 404 oak_disabled."
    )

    memory_dim: int = Field(256, ge=2, le=4096, description="Components of a feature vector; fixed once data exist.")
    oak_similarity_threshold: float = Field(
        0.9, gt=0, le=1, description="Cosine from which a vector state meets a target."
    )
    oak_state_similarity: float = Field(
        0.85, gt=0, le=1, description="Cosine from which a vector belongs to a known prototype."
    )
    oak_match_similarity: float = Field(
        0.95, gt=0, le=1, description="Cosine from which two vector targets of discovered options are one."
    )
    oak_reward_threshold: float = Field(
        0.5, ge=-1e9, le=1e9, description="Reward above which the state that a step led to becomes a target."
    )
    oak_novelty_threshold: float = Field(
        0.2, ge=0, le=2, description="Unlikeness to all known states above which a new one becomes a target."
    )
    oak_success_reward: float = Field(
        1.0, ge=0, le=1e9, description="What an episode's success adds to its last reward."
    )
    oak_gamma: float = Field(0.99, gt=0, le=1, description="Discount of rewards for options that name none.")
    oak_alpha: float = Field(
        0.05, gt=0, le=1, description="Step size of the model's averages for options that name none."
    )
    oak_kappa: float = Field(
        1.0, ge=0, le=1e6, description="Weight of the feature reward in utility for options that name none."
    )
    oak_tau_min: int = Field(86_400, ge=1, description="Least retention of an option, seconds.")
    oak_tau_max: int = Field(2_592_000, ge=1, description="Greatest retention of an option, seconds.")
    oak_max_options: int = Field(
        2000, ge=1, le=1_000_000, description="Active options of a namespace, primitives apart."
    )
    oak_max_prototypes: int = Field(100_000, ge=1, le=10_000_000, description="Abstract states of a namespace.")
    oak_max_actions: int = Field(20_000, ge=1, le=1_000_000, description="Distinct primitive actions of a namespace.")
    oak_plan_max_options: int = Field(20, ge=1, le=100, description="Options in a plan that names no maximum.")
    oak_confidence_z: float = Field(1.0, ge=0, le=10, description="Standard deviations of the lower bounds.")
    oak_min_probability: float = Field(
        0.05, ge=0, lt=1, description="Outcomes below it are not planned on, unless most probable."
    )
    oak_time_price: float = Field(
        0.001, gt=0, le=1, description="Price of one time step, nats; the least doubt as well."
    )
    oak_loss_price: float = Field(0.01, ge=0, le=10, description="Price of one unit of negative reward, nats.")
    oak_option_radius: int = Field(12, ge=1, le=10_000, description="Steps within which a discovered option may begin.")
    oak_local_radius: int = Field(
        8, ge=0, le=10_000, description="Steps around a goal within which a plan ends by an option made for it."
    )
    oak_local_states: int = Field(
        2000,
        ge=1,
        le=1_000_000,
        description="States that it, or a discovered option, may begin in: the nearest.",
    )
    oak_prediction_weight: float = Field(
        10.0, gt=0, le=1e6, description="Runs that an option's predicted model is worth beside real ones."
    )
    oak_consolidate_episodes: int = Field(
        50, ge=1, le=1_000_000, description="New episodes after which options are worked out in the background."
    )
    oak_consolidation_interval_s: float = Field(
        0.2, gt=0, le=3600, description="Least pause between looks for namespaces to consolidate."
    )
    oak_consolidation_batch: int = Field(
        64, ge=1, le=10_000, description="Option models written in one transaction; each blocks the tenant's writers."
    )
    oak_use_flush_s: float = Field(
        60.0, gt=0, le=3600, description="Least pause between writings of which options plans have used."
    )
    oak_retention_interval_s: float = Field(
        3600.0, gt=0, le=604_800, description="Least pause between looks for discovered options that nobody uses."
    )
    oak_replan_gap: float = Field(
        0.05, ge=0, le=1, description="Gain of replanning from which a plan's advice is to replan."
    )
    oak_policy_sweeps_max: int = Field(
        10_000, ge=1, le=1_000_000, description="Sweeps of the policy's value iteration at the most."
    )
    oak_graph_cache_namespaces: int = Field(4096, ge=1, le=100_000, description="Compiled namespaces kept in memory.")
    oak_graph_cache_bytes: int = Field(
        1_073_741_824,
        ge=1,
        description="Memory of compiled namespaces, estimated, bytes; the one used last is kept whatever it takes.",
    )
    oak_goal_cache_sets: int = Field(64, ge=1, le=100_000, description="Goal sets kept for each compiled namespace.")

    database_url: str = Field("", description="SQLAlchemy URL; empty: SQLite under SOMABRAIN_DATA_DIR.")
    database_pool_size: int = Field(16, ge=1, le=1000, description="Connections kept to the database.")
    database_timeout_s: float = Field(10.0, gt=0, le=600, description="Wait for a lock or a connection.")
    embedder: Literal["auto", "wordllama", "hashed", "http"] = Field(
        "auto",
        description="What makes vectors of texts, fixed once data exist; auto: what the data were written with, "
        "else wordllama where it is installed, else hashed.",
    )
    embedder_url: str = Field("", description="Base of an OpenAI-compatible API for EMBEDDER=http, as http://host/v1.")
    embedder_model: str = Field("", description="The model to ask for there; fixed once data exist.")
    embedder_key: str = Field("", description="Bearer token for it.")
    embedder_dimensions: bool = Field(
        default=False, description="Ask the model for MEMORY_DIM dimensions, which not every one can give."
    )
    embedder_timeout_s: float = Field(10.0, gt=0, le=600, description="Deadline of a request's texts there, seconds.")
    embedder_attempts: int = Field(3, ge=1, le=20, description="Attempts at each batch of texts.")
    embedder_pause_s: float = Field(
        0.2, ge=0, le=60, description="Pause before the second attempt, doubled before each further one."
    )
    embedder_text_chars: int = Field(
        65_536, ge=1, le=65_536, description="Characters of a text that are sent to it; the rest is left out."
    )
    embedder_batch: int = Field(64, ge=1, le=2048, description="Texts of one request to it.")

    recall_exact_max: int = Field(
        100_000, ge=0, le=10_000_000, description="Memories of a tenant up to which recall is exact without Milvus."
    )
    recall_lexical_weight: float = Field(
        0.6, ge=0, le=1, description="Share of words in the relevance of a text query; the rest is the vector's."
    )
    recall_importance_weight: float = Field(
        0.05, ge=0, le=1, description="What a memory's importance adds to its score or takes off, at the most."
    )
    recall_recency_weight: float = Field(
        0.02, ge=0, le=1, description="What a memory's age takes off its score, at the most."
    )
    recall_half_life_s: float = Field(
        2_592_000.0, gt=0, le=1e10, description="Age at which a memory has lost half of that, seconds."
    )
    recall_candidates: int = Field(
        200, ge=1, le=16_384, description="Memories that Milvus proposes above RECALL_EXACT_MAX, at the least."
    )
    recall_scan_deadline_s: float = Field(
        10.0, gt=0, le=600, description="Longest reading of all memories in SQL where Milvus does not answer."
    )
    recall_cache_namespaces: int = Field(
        64, ge=1, le=100_000, description="Namespaces whose memories are kept ready for recall."
    )
    memory_expiry_interval_s: float = Field(
        60.0, gt=0, le=86_400, description="Least pause between deletions of memories that have expired."
    )
    page_rows: int = Field(
        500, ge=1, le=100_000, description="Memories or options that background work and scans read at once."
    )

    milvus_uri: str = Field(
        "", description="Address or file of Milvus; empty: Milvus Lite under SOMABRAIN_DATA_DIR; off: none."
    )
    milvus_token: str = Field("", description="Token, or user:password, of a Milvus server.")
    milvus_collection_prefix: str = Field(
        "somabrain",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$",
        description="Collections are <prefix>_options and <prefix>_memories; one for each database.",
    )
    milvus_index_type: Literal["BIN_IVF_FLAT", "BIN_FLAT", "HNSW", "IVF_FLAT", "FLAT", "AUTOINDEX"] = Field(
        "FLAT", description="Index of the vectors; BIN_ kinds are signed random projections, ranked again exactly."
    )
    milvus_binary_bits: int = Field(
        2048, ge=64, le=32_768, multiple_of=8, description="Bits of a binary vector of the BIN_ kinds."
    )
    milvus_nlist: int = Field(128, ge=1, le=65_536, description="Clusters of the IVF kinds.")
    milvus_nprobe: int = Field(128, ge=1, le=65_536, description="Clusters searched of the IVF kinds.")
    milvus_m: int = Field(16, ge=2, le=2048, description="Edges of a vertex of HNSW.")
    milvus_ef_construction: int = Field(200, ge=1, le=10_000, description="Breadth of HNSW's construction.")
    milvus_ef: int = Field(512, ge=1, le=32_768, description="Breadth of HNSW's search.")
    milvus_candidates: int = Field(
        300, ge=1, le=16_384, description="Candidates of the BIN_ kinds that are ranked again exactly, at the least."
    )
    milvus_timeout_s: float = Field(5.0, gt=0, le=600, description="Deadline of a request to Milvus, retries included.")
    milvus_connect_timeout_s: float = Field(
        30.0, gt=0, le=600, description="Deadline of connecting to Milvus and of making a collection."
    )
    milvus_staleness_s: float = Field(
        10.0,
        ge=0,
        le=600,
        description="Age from which a search of Milvus surely sees a write; younger are read in SQL.",
    )
    milvus_batch: int = Field(
        10_000, ge=1, le=100_000, description="Changes that go to Milvus at once; of several to one option the last."
    )
    milvus_rest: float = Field(
        1.0, ge=0, le=100, description="Rest after writing to Milvus, as a multiple of the time that the writing took."
    )
    milvus_check_interval_s: float = Field(
        3600.0, gt=0, le=604_800, description="Least pause between comparisons of Milvus with the database."
    )
    milvus_breathing_s: float = Field(
        0.01, ge=0, le=10, description="Pause in what goes to Milvus: after a few options, after PAGE_ROWS documents."
    )
    milvus_linger_s: float = Field(0.1, ge=0, le=60, description="Time for changes to gather before they go to Milvus.")
    idempotency_ttl_s: int = Field(86_400, ge=1, description="How long an Idempotency-Key is remembered, seconds.")

    events_file: Path | None = Field(
        None,
        description="Avro object container that every event is appended to; one of other schemas becomes <name>.<n>.",
    )
    relay_batch: int = Field(500, ge=1, le=100_000, description="Events handed to a sink at once.")
    relay_interval_s: float = Field(1.0, gt=0, le=3600, description="Pause between looks at the journal when idle.")
    relay_linger_s: float = Field(
        0.02, ge=0, le=60, description="Time for events to gather after a commit: each batch costs a write of its own."
    )
    relay_backoff_max_s: float = Field(30.0, gt=0, le=3600, description="Longest pause after a sink has failed.")
    relay_prune_interval_s: float = Field(
        60.0, gt=0, le=86_400, description="Least pause between deletions of expired Idempotency-Keys."
    )

    policy_engine: Literal["embedded"] = Field("embedded", description="What evaluates the policy.")
    policy_path: Path | None = Field(None, description="Rego file that replaces the one shipped.")
    policy_requests_per_minute: int = Field(
        600_000, ge=1, description="Requests a minute of one tenant in one process, told to the policy."
    )

    auth_mode: Literal["none", "keys", "oidc"] = Field("none", description="How callers are known.")
    somabrain_keys_file: Path | None = Field(None, description="Keys of AUTH_MODE=keys.")
    oidc_issuer: str = Field("", description="Issuer of AUTH_MODE=oidc, as in the tokens' iss.")
    oidc_audience: str = Field("", description="Audience that tokens must name.")
    oidc_tenant_claim: str = Field("tenant", description="Claim that holds the tenant.")
    oidc_leeway_s: int = Field(60, ge=0, le=600, description="Clock difference allowed in exp and nbf, seconds.")
    oidc_keys_ttl_s: int = Field(300, ge=1, le=86_400, description="How long fetched signing keys are used, seconds.")
    oidc_keys_cooldown_s: int = Field(5, ge=0, le=3600, description="Least pause between fetches for an unknown key.")
    oidc_timeout_s: float = Field(5.0, gt=0, le=60, description="Deadline of a request to the issuer, seconds.")

    somabrain_host: str = Field("127.0.0.1", min_length=1, description="Address the server binds.")
    somabrain_port: int = Field(9696, ge=0, le=65_535, description="Port the server binds; 0: any free one.")
    somabrain_role: Literal["all", "api", "worker"] = Field(
        "all", description="Serve requests, run the relay, or both."
    )
    somabrain_data_dir: Path = Field(Path("somabrain-data"), description="Folder of the embedded database.")
    somabrain_log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level logged.")
    otel_exporter_otlp_endpoint: str = Field(
        "", description="OTLP/HTTP address that traces are sent to, as http://127.0.0.1:4318; empty: no traces."
    )
    shutdown_timeout_s: int = Field(10, ge=1, le=600, description="Time that running requests have when stopping.")

    body_max_bytes: int = Field(1 << 20, ge=1024, description="Largest body of most routes.")
    body_batch_max_bytes: int = Field(32 << 20, ge=1024, description="Largest body of the batch routes.")
    body_model_max_bytes: int = Field(512 << 20, ge=1024, description="Largest body of PUT /oak/model.")

    metrics_max_tenants: int = Field(100, ge=1, le=100_000, description="Tenants with labels of their own.")
    metrics_cache_s: float = Field(15.0, ge=0, le=3600, description="Age of figures read from the database.")
    metrics_host: str = Field("127.0.0.1", min_length=1, description="Address of /metrics when not on loopback.")
    metrics_port: int = Field(9697, ge=0, le=65_535, description="Port of /metrics when not on loopback.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.oak_tau_max < self.oak_tau_min:
            message = "OAK_TAU_MAX must not be below OAK_TAU_MIN"
            raise ValueError(message)
        if self.auth_mode == "none" and not is_loopback(self.somabrain_host):
            message = (
                f"AUTH_MODE=none serves loopback only, but SOMABRAIN_HOST is {self.somabrain_host}: "
                "set AUTH_MODE to keys or oidc, or SOMABRAIN_HOST to 127.0.0.1"
            )
            raise ValueError(message)
        if self.auth_mode == "keys" and self.somabrain_keys_file is None:
            message = "AUTH_MODE=keys needs SOMABRAIN_KEYS_FILE (make one with `somabrain keys create`)"
            raise ValueError(message)
        if self.embedder == "http" and not (self.embedder_url and self.embedder_model):
            message = "EMBEDDER=http needs EMBEDDER_URL and EMBEDDER_MODEL"
            raise ValueError(message)
        if self.auth_mode == "oidc" and not (self.oidc_issuer and self.oidc_audience):
            message = "AUTH_MODE=oidc needs OIDC_ISSUER and OIDC_AUDIENCE"
            raise ValueError(message)
        return self

    @property
    def loopback(self) -> bool:
        """Whether the server is reachable from this machine alone."""
        return is_loopback(self.somabrain_host)


def is_loopback(host: str) -> bool:
    """Whether `host` is a name or address of the loopback interface (RFC 6761 §6.3, RFC 6890)."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def load_settings() -> Settings:
    """The settings of the environment and `.env`. Raises `SettingsError` with one line."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]).upper()
        message = first["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{name}: {message} (got {first['input']!r})" if name else message) from None
