"""The `somabrain` command. Each command imports what it needs when it runs, so that --help is quick."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from common.config.settings import Settings, SettingsError, load_settings

if TYPE_CHECKING:
    from somabrain.commands.remote import Server

app = typer.Typer(
    help="Somabrain: agents report what they did, it learns which skill leads where, and plans.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
options = typer.Typer(help="Look at options: skills and what their runs taught.", no_args_is_help=True)
keys = typer.Typer(help="Keys of AUTH_MODE=keys.", no_args_is_help=True)
app.add_typer(options, name="option")
app.add_typer(keys, name="keys")

Url = Annotated[str, typer.Option(envvar="SOMABRAIN_URL", help="The server's address.")]
Key = Annotated[str | None, typer.Option(envvar="SOMABRAIN_KEY", help="Key or token, where the server wants one.")]
NamespaceOption = Annotated[str, typer.Option("--namespace", "-n", help="The namespace.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

DEFAULT_URL = "http://127.0.0.1:9696"


def main() -> None:
    """The entry of the installed command."""
    app()


@app.command()
def serve(
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Processes that answer requests, on one port and one database.")
    ] = 1,
) -> None:
    """Start the server with the settings of the environment (see `somabrain settings`)."""
    settings = _settings()
    if workers == 1:
        from somabrain.commands.serving import serve as run

        run(settings)
    else:
        from somabrain.commands.workers import serve_together

        serve_together(settings, workers)


@app.command()
def demo(
    declared: Annotated[bool, typer.Option("--declared", help="With six options whose policies are given.")] = False,
    episodes: Annotated[
        int | None, typer.Option(min=1, help="Random episodes to learn from.", show_default="400, or 200 if declared")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the random agent.")] = 0,
    rainy: Annotated[bool, typer.Option("--rainy", help="Moves slip.")] = False,
    output: Annotated[Path, typer.Option(help="Where the learning curve is drawn.")] = Path("taxi.png"),
) -> None:
    """Learn a real environment (Gymnasium's Taxi) from raw actions through the API of a server of its own."""
    settings = _settings()
    from somabrain.demo.command import run

    run(settings, declared=declared, episodes=episodes, seed=seed, rainy=rainy, output=output)


@app.command("settings")
def show_settings(as_json: AsJson = False) -> None:
    """Show every setting: its value, where it comes from, and what it may be."""
    settings = _settings()
    from somabrain.commands.local import show_settings as run

    run(settings, as_json=as_json)


@keys.command("create")
def keys_create(
    tenant: Annotated[str, typer.Option(help="Whose data the key opens.")],
    subject: Annotated[str, typer.Option(help="Who uses it: kept with what is reported.")],
    role: Annotated[list[str], typer.Option(help="brain_reader, brain_writer or brain_admin; may be repeated.")],
    days: Annotated[int | None, typer.Option(min=1, help="Days until it expires; without: never.")] = None,
) -> None:
    """Make a key, print it once, and keep its SHA-256 in SOMABRAIN_KEYS_FILE."""
    settings = _settings()
    from somabrain.commands.local import make_key

    make_key(settings, tenant=tenant, subject=subject, roles=role, days=days)


@options.command("list")
def option_list(
    url: Url = DEFAULT_URL,
    key: Key = None,
    namespace: NamespaceOption = "default",
    status: Annotated[str | None, typer.Option(help="active or retired.")] = None,
    as_json: AsJson = False,
) -> None:
    """List options with their runs, success and utility."""
    from somabrain.commands.remote import list_options

    list_options(_server(url, key, namespace), status=status, as_json=as_json)


@options.command("show")
def option_show(
    option_id: str,
    url: Url = DEFAULT_URL,
    key: Key = None,
    namespace: NamespaceOption = "default",
    as_json: AsJson = False,
) -> None:
    """Show an option and its rows: from where it leads where, how often, how long, and what it earns."""
    from somabrain.commands.remote import show_option

    show_option(_server(url, key, namespace), option_id, as_json=as_json)


@app.command()
def learn(
    files: Annotated[
        list[Path], typer.Argument(help="Traces: .jsonl, .ndjson or .json, each also with .gz; Minari's folders.")
    ],
    url: Url = DEFAULT_URL,
    key: Key = None,
    namespace: NamespaceOption = "default",
    form: Annotated[
        str | None,
        typer.Option(
            "--format", help="openai, tau-bench, otlp, somabrain, alfworld or minari.", show_default="found out"
        ),
    ] = None,
    arguments: Annotated[
        bool, typer.Option("--arguments", help="An action is a tool with its arguments, not the tool alone.")
    ] = False,
    local: Annotated[
        bool, typer.Option("--local", help="Without a server: into the data of the settings, in this process.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Learn from agents' logs: each trace is one episode, however often it is read; status 1 where one was refused."""
    from somabrain.commands.learning import format_argument, learn_from

    found = None if form is None else format_argument(form)
    with _server_or_local(url, key, namespace, local=local) as server:
        learn_from(server, files, form=found, arguments=arguments, as_json=as_json)


@app.command()
def consolidate(
    url: Url = DEFAULT_URL, key: Key = None, namespace: NamespaceOption = "default", as_json: AsJson = False
) -> None:
    """Work out options from the episodes so far, now, and show what came of it."""
    from somabrain.commands.consolidating import consolidate as run

    run(_server(url, key, namespace), as_json=as_json)


@app.command()
def diagnose(
    url: Url = DEFAULT_URL, key: Key = None, namespace: NamespaceOption = "default", as_json: AsJson = False
) -> None:
    """Say what makes this world hard to learn, and what to do about it."""
    from somabrain.commands.consolidating import diagnose as run

    run(_server(url, key, namespace), as_json=as_json)


@app.command()
def plan(
    start: Annotated[str, typer.Argument(help='Where you are: at=home,door=open or {"at": "home"}.')],
    target: Annotated[str, typer.Argument(help="What shall hold, in the same form.")],
    url: Url = DEFAULT_URL,
    key: Key = None,
    namespace: NamespaceOption = "default",
    max_options: Annotated[int | None, typer.Option(min=1, max=100)] = None,
    alternatives: Annotated[int, typer.Option(min=0, max=10)] = 0,
    as_json: AsJson = False,
) -> None:
    """Ask for a plan; status 1 where there is none."""
    from somabrain.commands.remote import show_plan, state_argument

    body = {
        "start_state": state_argument(start),
        "target_feature": state_argument(target),
        "alternatives": alternatives,
    }
    if max_options is not None:
        body["max_options"] = max_options
    show_plan(_server(url, key, namespace), body, as_json=as_json)


@app.command()
def remember(
    content: Annotated[str, typer.Argument(help="What to remember.")],
    url: Url = DEFAULT_URL,
    key: Key = None,
    namespace: NamespaceOption = "default",
    metadata: Annotated[str | None, typer.Option(help="name=value[,name=value] or a JSON object.")] = None,
    importance: Annotated[float | None, typer.Option(min=0, max=1, help="0 to 1; .5 is the middle.")] = None,
    ttl: Annotated[int | None, typer.Option(min=1, help="Seconds until it is forgotten; without: never.")] = None,
    memory_id: Annotated[str | None, typer.Option("--id", help="Replaces the memory of this id.")] = None,
    as_json: AsJson = False,
) -> None:
    """Remember something."""
    from somabrain.commands.memories import remember as run
    from somabrain.commands.remote import pairs_argument

    body = {
        "content": content,
        "metadata": None if metadata is None else pairs_argument(metadata),
        "importance": importance,
        "ttl_s": ttl,
        "memory_id": memory_id,
    }
    given = {name: value for name, value in body.items() if value is not None}
    run(_server(url, key, namespace), given, as_json=as_json)


@app.command()
def recall(
    query: Annotated[str, typer.Argument(help="What to look for.")],
    url: Url = DEFAULT_URL,
    key: Key = None,
    namespace: NamespaceOption = "default",
    top_k: Annotated[int, typer.Option("--top", "-k", min=1, max=100, help="Most memories.")] = 10,
    where: Annotated[str | None, typer.Option(help="What their metadata hold: name=value[,name=value].")] = None,
    min_score: Annotated[float | None, typer.Option(help="The least score.")] = None,
    as_json: AsJson = False,
) -> None:
    """Recall memories by what they say, best first."""
    from somabrain.commands.memories import recall as run
    from somabrain.commands.remote import pairs_argument

    body = {
        "query": {"text": query},
        "top_k": top_k,
        "filter": None if where is None else pairs_argument(where),
        "min_score": min_score,
    }
    given = {name: value for name, value in body.items() if value is not None}
    run(_server(url, key, namespace), given, as_json=as_json)


@app.command()
def forget(memory_id: str, url: Url = DEFAULT_URL, key: Key = None, namespace: NamespaceOption = "default") -> None:
    """Delete a memory."""
    from somabrain.commands.memories import forget as run

    run(_server(url, key, namespace), memory_id)


@app.command("import-memories")
def import_memories(
    file: Annotated[Path, typer.Argument(help='JSON Lines: {"content": "…", "metadata": {…}, …} on each.')],
    url: Url = DEFAULT_URL,
    key: Key = None,
    namespace: NamespaceOption = "default",
    as_json: AsJson = False,
) -> None:
    """Remember every line of a JSON Lines file; doing it again stores nothing twice."""
    from somabrain.commands.memories import import_memories as run

    run(_server(url, key, namespace), file, as_json=as_json)


@app.command()
def reconcile(
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Empty Milvus and fill it anew.")] = False,
    from_milvus: Annotated[
        bool, typer.Option("--from-milvus", help="Fill an empty database from the documents in Milvus.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare Milvus with the database, tenant by tenant, and repair what differs. No server need run."""
    settings = _settings()
    if rebuild and from_milvus:
        raise typer.BadParameter("--rebuild and --from-milvus exclude each other")
    from somabrain.commands import reconciling

    if from_milvus:
        reconciling.restore(settings, as_json=as_json)
    else:
        reconciling.reconcile(settings, rebuild=rebuild, as_json=as_json)


@app.command("export")
def export_model(file: Path, url: Url = DEFAULT_URL, key: Key = None, namespace: NamespaceOption = "default") -> None:
    """Export a namespace's whole model as JSON."""
    from somabrain.commands.remote import export_to

    export_to(_server(url, key, namespace), file)


@app.command("import")
def import_model(
    file: Path,
    url: Url = DEFAULT_URL,
    key: Key = None,
    namespace: NamespaceOption = "default",
    replace: Annotated[bool, typer.Option("--replace", help="In place of what the namespace holds.")] = False,
    as_json: AsJson = False,
) -> None:
    """Import a model that was exported."""
    from somabrain.commands.remote import import_from

    import_from(_server(url, key, namespace), file, replace=replace, as_json=as_json)


@app.command()
def replay(
    tenant: Annotated[str, typer.Option(help="Whose journal.")] = "local",
    namespace: NamespaceOption = "default",
    output: Annotated[Path | None, typer.Option(help="Write the replayed model here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a namespace's model again from the journal in the database, and compare the two byte by byte."""
    settings = _settings()
    from somabrain.commands.local import replay as run

    run(settings, tenant=tenant, namespace=namespace, output=output, as_json=as_json)


@app.command()
def report(
    tenant: Annotated[str, typer.Option(help="Whose runs.")] = "local",
    namespace: NamespaceOption = "default",
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the page is written.")] = Path("report.html"),
    goal: Annotated[
        list[str] | None,
        typer.Option(help="What success is, as NAME=VALUE; may be repeated.", show_default="what was reported"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a page about your agents' runs: where they fail, what stopping early saves. No server need run."""
    settings = _settings()
    from somabrain.commands.reporting import goal_argument
    from somabrain.commands.reporting import report as run

    found = goal_argument(goal or [])
    run(settings, tenant=tenant, namespace=namespace, goal=found, output=output, as_json=as_json)


@app.command()
def events(
    url: Url = DEFAULT_URL,
    key: Key = None,
    after: Annotated[int, typer.Option(min=0, help="Sequence to begin after.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="Most events; without: all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print the journal, one line an event."""
    from somabrain.commands.remote import follow_events

    follow_events(_server(url, key, "default"), after=after, most=limit, as_json=as_json)


@app.command()
def mcp(
    url: Annotated[
        str | None,
        typer.Option(envvar="SOMABRAIN_URL", help="The server's address.", show_default="the service in this process"),
    ] = None,
    key: Key = None,
    namespace: NamespaceOption = "default",
    data: Annotated[
        Path, typer.Option(envvar="SOMABRAIN_DATA_DIR", help="Data of the service in this process.")
    ] = Path("somabrain-data"),
    http: Annotated[bool, typer.Option("--http", help="Streamable HTTP instead of standard input and output.")] = False,
    host: Annotated[str, typer.Option(help="Where --http listens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Where --http listens; 0: any free port.")] = 9698,
    http_key: Annotated[
        str | None, typer.Option(envvar="SOMABRAIN_MCP_KEY", help="What clients of --http send as a bearer token.")
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A name that clients of --http call this by; may be repeated.")
    ] = None,
) -> None:
    """Serve memory and experience to MCP clients: remember, recall, predict, plan, act, report_episode."""
    try:
        from somabrain.commands.mcp_server import Asked, serve_http, serve_stdio
    except ImportError as missing:
        if (missing.name or "").split(".")[0] not in {"mcp", "mcp_types"}:
            raise
        typer.echo(f"somabrain: mcp needs the MCP SDK ({missing}): pip install 'somabrain[mcp]'", err=True)
        raise typer.Exit(2) from None

    asked = Asked(url=url, key=key, namespace=namespace, data=data)
    if http:
        serve_http(asked, host=host, port=port, key=http_key, hosts=allow_host or ())
    else:
        serve_stdio(asked)


@app.command()
def openapi(
    path: Annotated[Path, typer.Argument()] = Path("openapi.yaml"),
    check: Annotated[bool, typer.Option("--check", help="Only compare; status 1 where the file differs.")] = False,
) -> None:
    """Write the API's description, or compare it with a file."""
    from somabrain.commands.serving import write_openapi

    write_openapi(Settings.model_construct(), path, check=check)


@app.command()
def reference(
    check: Annotated[bool, typer.Option("--check", help="Only compare; status 1 where a page differs.")] = False,
) -> None:
    """Write the manual's pages of settings and errors, or compare them with what the code says."""
    from somabrain.commands.reference import write_reference

    write_reference(check=check)


def _server(url: str, key: str | None, namespace: str) -> Server:
    from somabrain.commands.remote import Server

    return Server(url=url, key=key, namespace=namespace)


def _server_or_local(url: str, key: str | None, namespace: str, *, local: bool) -> AbstractContextManager[Server]:
    if not local:
        return nullcontext(_server(url, key, namespace))
    from somabrain.commands.local import server_in_process

    return server_in_process(_settings(), namespace)


def _settings() -> Settings:
    try:
        return load_settings()
    except SettingsError as error:
        typer.echo(f"somabrain: {error}", err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    main()
