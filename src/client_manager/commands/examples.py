"""Examples of every command, for its help, the reference and the manual page; a test parses each."""

from typing import Final

import typer

# command -> what stands behind "client-manager" on the line, and what that is good for.
EXAMPLES: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "": (
        ("", "the menu; without a terminal: how everything is, and what to do next"),
        ("client create acme --domain chat.acme.example", "a first client"),
        ("cluster deploy host-1", "replicate the clients of this machine"),
        ("doctor", "what is wrong, and how to mend it"),
    ),
    "demo": (
        ("demo", "all of it at work in three minutes, then gone again"),
        ("demo --keep", "leave it running, to look at it"),
        ("demo --remove", "remove what was kept"),
    ),
    "doctor": (("doctor", "every check, with the fix of what is wrong"), ("doctor --json", "the same for a program")),
    "client list": (("client list", "all of them"), ("client list --json", "the same for a program")),
    "client show": (
        ("client show acme", "its spec, its container, and how they differ"),
        ("client show acme --reveal", "with its secrets in the clear"),
    ),
    "client create": (
        ("client create acme --domain chat.acme.example", "on the next free port, with the default image"),
        ("client create acme --domain chat.acme.example --memory 4g --env WEBUI_NAME=Acme --yes", "in a script"),
        ("client create acme --domain chat.acme.example --dry-run", "only show what it would be"),
    ),
    "client set": (
        ("client set acme --memory 4g", "another limit"),
        ("client set acme --env WEBUI_NAME=Acme --unset OLD_NAME", "set one variable, remove another"),
        ("client set acme --image ghcr.io/open-webui/open-webui:v0.12.4", "upgrade, its database copied aside first"),
    ),
    "client set-domain": (("client set-domain acme ai.acme.example", "whatever carries the old one follows"),),
    "client repair": (
        ("client repair acme --dry-run", "what has drifted"),
        ("client repair acme --yes", "make its container what its spec says"),
    ),
    "client start": (("client start acme globex", "two of them"), ("client start --all --yes", "every managed client")),
    "client stop": (("client stop acme", "until it is started again"), ("client stop --all", "every managed client")),
    "client restart": (("client restart acme", "returns when it is healthy"),),
    "client logs": (
        ("client logs acme --tail 500", "the last 500 lines"),
        ("client logs acme --follow", "go on until Ctrl-C"),
    ),
    "client adopt": (
        ("client adopt openwebui-chat-acme-com --dry-run", "what taking it over would be"),
        ("client adopt openwebui-chat-acme-com acme --domain chat.acme.example", "under another name"),
    ),
    "client remove": (
        ("client remove acme", "asks for the name; all of its data stays"),
        ("client remove acme --confirm acme --yes --delete-data", "for good, in a script"),
    ),
    "client resume": (("client resume acme", "finish what was cut off"),),
    "client undo": (("client undo acme", "take back what was cut off"),),
    "cluster deploy": (
        ("cluster deploy host-1 --dry-run", "every check, and what would be made"),
        ("cluster deploy host-1", "both nodes, and return when one leads"),
        ("cluster deploy host-1 --take-over --confirm host-1", "in the place of a machine that is lost"),
    ),
    "cluster list": (("cluster list", "every cluster that the database knows"),),
    "cluster show": (("cluster show", "the one of this machine"), ("cluster show host-1 --json", "for a program")),
    "cluster health": (("cluster health host-1", "what is not well, and how to mend it"),),
    "cluster check": (("cluster check host-1", "one line and an exit code for a monitoring system"),),
    "cluster watch": (
        ("cluster watch", "live, until q or Ctrl-C"),
        ("cluster watch host-1 --interval 5 --json", "an object a line, every five seconds"),
    ),
    "cluster switch-over": (("cluster switch-over --to sync-node-b", "before node a is worked on"),),
    "cluster update": (("cluster update", "both nodes from today's image, never both at once"),),
    "cluster deregister": (
        ("cluster deregister host-1 --check", "only say whether it may go"),
        ("cluster deregister host-1", "repair what blocks, export, take down"),
        ("cluster deregister host-1 --lost-host", "its machine is gone for good"),
        ("cluster deregister host-1 --disable acme --confirm host-1 --confirm-leader sync-node-a", "in a script"),
    ),
    "cluster restore": (
        ("cluster restore /opt/openwebui/bundles/host-1.json --dry-run", "what would come back, and what clashes"),
        ("cluster restore /opt/openwebui/bundles/host-1.json", "bring it back"),
    ),
    "node run": (("node run --cluster-folder /srv/clusters/host-1 --node sync-node-a", "what a container runs"),),
    "node list": (("node list", "what is here, and what each says of itself"),),
    "node status": (("node status sync-node-a", "its container, its place, and who leads"),),
    "node health": (("node health sync-node-a", "exit 1 where it is not healthy"),),
    "node logs": (("node logs sync-node-a --tail 200 --follow", "the last 200 lines, and then every new one"),),
    "node start": (("node start sync-node-a", "returns when it is healthy"),),
    "node stop": (("node stop sync-node-a", "a leader hands over first"),),
    "node restart": (("node restart sync-node-a", "returns when it is healthy"),),
    "node update": (("node update sync-node-a", "from today's image"),),
    "sync register": (
        ("sync register acme", "its first replication begins at once"),
        ("sync register acme --interval 60 --no-start", "every minute, once it is started"),
    ),
    "sync start": (
        ("sync start acme", "resume"),
        ("sync start acme --interval 30", "and from now on every 30 seconds"),
    ),
    "sync pause": (
        ("sync pause acme", "after the run under way"),
        ("sync pause acme --cancel", "end the run under way"),
    ),
    "sync run": (
        ("sync run acme --wait", "now, and return when it has ended"),
        ("sync run acme --full", "load everything anew"),
    ),
    "sync status": (("sync status", "how far every replica is"), ("sync status acme", "of one, with its latest jobs")),
    "sync jobs": (
        ("sync jobs acme --limit 5", "its latest five"),
        ("sync jobs --rerun 3f2a", "queue that one again"),
    ),
    "sync cancel": (("sync cancel acme", "all of its jobs"), ("sync cancel --job 3f2a", "one job")),
    "sync conflicts": (("sync conflicts acme --all", "also those that are settled"),),
    "sync resolve": (
        ("sync resolve 3f2a", "both rows, side by side"),
        ("sync resolve 3f2a --keep source", "the client's own row stands"),
    ),
    "sync strategies": (
        ("sync strategies acme", "what is done about rows that differ"),
        ("sync strategies acme --set tag=manual --set '*=source_wins'", "decide table by table"),
    ),
    "sync verify": (("sync verify acme", "compare every row; exit 1 where some differed"),),
    "sync restore": (("sync restore acme --to /srv/restored/webui.db", "a working database out of the replica"),),
    "sync deregister": (
        ("sync deregister acme --confirm acme", "its replica stays"),
        ("sync deregister acme --drop-data", "its replica goes, for good"),
    ),
    "database status": (("database status", "which it is, and which migrations are applied"),),
    "database use": (("database use -", "asks for the URL, so that no shell remembers it"),),
    "database migrate": (
        ("database migrate --dry-run", "what would be applied"),
        ("database migrate --yes", "in a script"),
    ),
    "replicate run": (("replicate run /srv/webui.db --schema acme", "one file into one schema, without a cluster"),),
    "replicate verify": (("replicate verify /srv/webui.db --schema acme", "compare and mend"),),
    "replicate quarantine": (("replicate quarantine --schema acme", "the values that did not fit"),),
}


def give(app: typer.Typer) -> None:
    """Put the examples of every command below its help."""
    _give(app, ())


def _give(app: typer.Typer, above: tuple[str, ...]) -> None:
    app.info.epilog = epilog(" ".join(above))
    for command in app.registered_commands:
        name = command.name or str(getattr(command.callback, "__name__", ""))
        command.epilog = epilog(" ".join((*above, name)))
    for group in app.registered_groups:
        if group.typer_instance and group.name:
            _give(group.typer_instance, (*above, group.name))


def epilog(command: str) -> str | None:
    """Return the examples of a command as its help shows them, or None where it has none.

    The backspace in a line of its own keeps click from wrapping the paragraph (its documentation, "Preventing
    Rewrapping"): a command must stay one line, so that it can be copied.
    """
    examples = EXAMPLES.get(command)
    if not examples:
        return None
    lines = [line for words, why in examples for line in (f"  {call(words)}", f"      {why}")]
    return "\n".join(["\b", "Examples:", *lines])


def call(words: str) -> str:
    """Return an example as it is typed."""
    return f"client-manager {words}".strip()
