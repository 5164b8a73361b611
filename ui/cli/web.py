"""`toyfed web`: the pages and the API; `link` lets somebody in, `key` is for programs."""

from __future__ import annotations

import contextlib
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from datasites.errors import SettingsError
from ui.cli.console import DatasiteHomeOption, JsonOption, console, emit, guarded

if TYPE_CHECKING:
    from ui.web.manifest import Manifest

__all__ = ["app", "first_links", "show_links", "web"]

app = typer.Typer(help="The pages for shoppers, merchants, scientists and analysts, and the API.")
key_app = typer.Typer(help="API keys of one shop, for its own programs.", no_args_is_help=True)
app.add_typer(key_app, name="key")

HOME = Path("toyfed-datasite")
MarketplaceOption = Annotated[
    Path | None, typer.Option(help="A marketplace manifest, as `toyfed demo` writes it.")
]
LABELS = {
    "demo": "everything",
    "merchant": "merchant console",
    "shopper": "shop",
    "scientist": "study desk",
    "analyst": "insights",
}


@app.callback(invoke_without_command=True)
@guarded
def web(
    context: typer.Context,
    marketplace: MarketplaceOption = None,
    datasite: Annotated[
        list[Path] | None, typer.Option(help="A merchant's home folder. Repeatable.")
    ] = None,
    study: Annotated[Path | None, typer.Option(help="A data scientist's home folder.")] = None,
    report: Annotated[Path | None, typer.Option(help="A report for the Insights page.")] = None,
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 8501,
    address: Annotated[
        str, typer.Option(help="Where to listen; others than this machine need --sign-in.")
    ] = "127.0.0.1",
    sign_in: Annotated[
        Path | None, typer.Option(help="Private file for sign-in by OpenID Connect.")
    ] = None,
    certificate: Annotated[Path | None, typer.Option(help="Certificate, for https.")] = None,
    certificate_key: Annotated[Path | None, typer.Option(help="Its private key.")] = None,
    photos_from: Annotated[
        list[str] | None,
        typer.Option(
            help="A host that photographs of toys may come from, as the catalogue names them; it "
            "sees which toys a visitor is shown. Repeatable; without it toys are drawn."
        ),
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open a browser, signed in.")] = True,
) -> None:
    """Open the pages and the API. Links that sign in are printed, each for one use."""
    if context.invoked_subcommand is not None:
        return
    from ui.web import launch
    from ui.web.server import PHOTO_HOST

    if (marketplace is None) == (not datasite and study is None):
        raise typer.BadParameter("expected either --marketplace FILE, or --datasite or --study")
    hosts = [host.lower() for host in photos_from or []]
    if wrong := [host for host in hosts if not re.fullmatch(PHOTO_HOST, host)]:
        raise typer.BadParameter(
            f"expected hosts for --photos-from, such as images.shop.example and without https://, "
            f"found {wrong[0]}"
        )
    if (certificate is None) != (certificate_key is None):
        raise typer.BadParameter("expected --certificate and --certificate-key together")
    with (
        _manifest(marketplace, datasite or [], study, report) as (manifest, doors),
        launch.ending_on_sigterm(),
    ):
        port = port or launch.free_port()
        server = launch.start_server(
            manifest,
            port,
            doors=doors,
            host=address,
            sign_in=sign_in.resolve() if sign_in else None,
            certificate=(certificate, certificate_key) if certificate and certificate_key else None,
            photos_from=hosts,
        )
        try:
            launch.wait_ready(port, process=server)
            if sign_in is None:
                links = first_links(manifest, doors)
                show_links(links)
                if browser:
                    typer.launch(links[0].url)
            else:
                from ui.web.doors.oidc import read_sign_in

                origin = read_sign_in(sign_in).provider.origin
                console.print(f"ToyFed listens at {address}, port {port}.")
                console.print(f"People sign in at {origin}", highlight=False, soft_wrap=True)
            console.print("Ctrl-C stops.")
            server.wait()
        except KeyboardInterrupt:
            console.print("Stopped.")
        finally:
            launch.stop_server(server)
    if server.returncode not in (0, None, -2, -15, 130):
        raise SettingsError(f"the web server ended with code {server.returncode}; see above why")


@dataclass(frozen=True)
class Link:
    """A link for one use, and what it opens."""

    role: str
    shop: str
    url: str


def first_links(manifest: Path, doors: Path) -> list[Link]:
    """A link for each role that has something to see; the most useful one first."""
    from ui.web.doors import Role
    from ui.web.launch import link_to
    from ui.web.manifest import read_manifest

    found = read_manifest(manifest)
    links = []
    if found.simulation:
        links.append(Link(Role.DEMO.value, "", link_to(doors, Role.DEMO)))
    for name, root in found.names().items():
        for role in (Role.MERCHANT, Role.SHOPPER):
            links.append(Link(role.value, name, link_to(doors, role, merchant=root)))
        if found.simulation:
            break  # one shop shows what a merchant and a shopper of it see
    if found.scientist is not None:
        links.append(Link(Role.SCIENTIST.value, "", link_to(doors, Role.SCIENTIST)))
    if found.report is not None:
        links.append(Link(Role.ANALYST.value, "", link_to(doors, Role.ANALYST)))
    return links


def show_links(links: list[Link]) -> None:
    """Print links so that a terminal makes them clickable."""
    console.print("\nEach link signs in once, within 15 minutes; `toyfed web link` makes new ones.")
    for link in links:
        what = LABELS[link.role] + (f" of {link.shop}" if link.shop else "")
        console.print(f"  [bold green]{what}[/]", highlight=False)
        # A link that is broken over two lines opens nothing.
        console.print(f"  {link.url}\n", highlight=False, soft_wrap=True)


@app.command("link")
@guarded
def link(
    role: Annotated[
        str, typer.Option(help="merchant, shopper, scientist, analyst; or demo in a simulation.")
    ] = "merchant",
    datasite: Annotated[Path | None, typer.Option(help="The merchant's home folder.")] = None,
    study: Annotated[Path | None, typer.Option(help="The data scientist's home folder.")] = None,
    marketplace: MarketplaceOption = None,
    shopper: Annotated[
        str | None,
        typer.Option(help="For one shopper of this shop alone: - reads her id from stdin."),
    ] = None,
    minutes: Annotated[float, typer.Option(help="How long it opens.", min=1, max=10_080)] = 15,
    as_json: JsonOption = False,
) -> None:
    """Make a link that signs somebody in once, into the page that is open already."""
    from ui.web.doors import Role
    from ui.web.launch import link_to

    if sum(one is not None for one in (marketplace, datasite, study)) != 1:
        raise typer.BadParameter("expected one of --datasite, --study and --marketplace")
    try:
        if shopper is not None:
            if shopper != "-":
                raise typer.BadParameter(
                    "expected --shopper - and the id on standard input: an argument is seen in "
                    "lists of processes and in the shell's history"
                )
            shopper = sys.stdin.readline().rstrip("\r\n")
        chosen = Role("shopper" if shopper is not None else role)
    except ValueError:
        raise typer.BadParameter(f"expected a role out of {', '.join(Role)}") from None
    with _manifest(marketplace, [datasite] if datasite else [], study, None) as (file, doors):
        shop, merchant = _shop_of(file, chosen, shopper)
        url = link_to(doors, chosen, merchant=merchant, shopper=shopper, seconds=minutes * 60)
    made = Link(chosen.value, shop, url)
    if as_json:
        emit(asdict(made))
    else:
        console.print(made.url, highlight=False, soft_wrap=True)


def _shop_of(manifest: Path, role: object, shopper: str | None) -> tuple[str, Path | None]:
    """Which shop a link is for, after checking that the role exists here."""
    from datasites.merchant.home import MerchantHome
    from datasites.merchant.store import load_catalogue, load_shop
    from ui.errors import DoorError
    from ui.web.doors import Role
    from ui.web.manifest import read_manifest

    found = read_manifest(manifest)
    if role is Role.DEMO and not found.simulation:
        raise DoorError(
            "expected a simulation for the role demo, found a real shop. "
            "Choose another role with --role."
        )
    if role not in (Role.MERCHANT, Role.SHOPPER):
        return "", None
    names = found.names()
    if not names:
        raise DoorError(
            "expected a merchant's home for this role, found none. Name it with --datasite HOME."
        )
    name, root = next(iter(names.items()))
    if shopper is not None:
        home = MerchantHome.open(root)
        known = load_shop(home, load_catalogue(home)).all.shopper_ids
        if shopper not in {str(one) for one in known}:
            raise DoorError(
                "expected the id of a shopper of this shop, found none of that id. "
                "Leave --shopper out for somebody new."
            )
    return name, root


@key_app.command("new")
@guarded
def new_key(
    label: Annotated[str, typer.Argument(help="What it is for, such as: web shop.")],
    home: DatasiteHomeOption = HOME,
    shoppers: Annotated[
        bool, typer.Option(help="May ask for a shopper of this shop by id.")
    ] = False,
    per_second: Annotated[
        float, typer.Option(help="Questions a second on average; twice as many at once.")
    ] = 50.0,
    as_json: JsonOption = False,
) -> None:
    """Make a key and print it: the only time that it is seen."""
    from datasites.merchant.home import MerchantHome
    from ui.api.keys import KeyRing

    key = KeyRing(MerchantHome.open(home)).new(label, shoppers=shoppers, per_second=per_second)
    if as_json:
        emit({"key": key})
    else:
        console.print(key, highlight=False, soft_wrap=True)


@key_app.command("list")
@guarded
def list_keys(home: DatasiteHomeOption = HOME, as_json: JsonOption = False) -> None:
    """Show all keys of this shop, without their secrets."""
    from datasites.merchant.home import MerchantHome
    from ui.api.keys import KeyRing

    keys = KeyRing(MerchantHome.open(home)).keys()
    if as_json:
        emit([key.model_dump(exclude={"sha256"}) for key in keys])
        return
    for key in keys:
        console.print(
            f"{key.id}  {key.made[:10]}  {key.per_second:g}/s  "
            f"{'shoppers by id' if key.shoppers else 'baskets only  '}  {key.label}",
            highlight=False,
            markup=False,
        )
    if not keys:
        console.print("No keys yet: `toyfed web key new LABEL` makes one.")


@key_app.command("revoke")
@guarded
def revoke_key(
    identity: Annotated[str, typer.Argument(metavar="ID", help="As `key list` shows it.")],
    home: DatasiteHomeOption = HOME,
) -> None:
    """End a key: it is refused from the next question on."""
    from datasites.merchant.home import MerchantHome
    from ui.api.keys import KeyRing

    KeyRing(MerchantHome.open(home)).revoke(identity)
    console.print(f"Revoked {identity}.", markup=False)


@contextlib.contextmanager
def _manifest(
    marketplace: Path | None, homes: list[Path], study: Path | None, report: Path | None
) -> Iterator[tuple[Path, Path]]:
    """A manifest of what was named, and the file of links and sessions that belongs to it."""
    from ui.web.launch import doors_beside
    from ui.web.manifest import read_manifest, write_manifest

    if marketplace is not None:
        found, doors = read_manifest(marketplace), doors_beside(marketplace)
    else:
        found, doors = _named(homes, study)
    if report is not None:
        found = found.model_copy(update={"report": report.resolve()})
    with tempfile.TemporaryDirectory(prefix="toyfed-web-") as folder:
        write_manifest(Path(folder) / "marketplace.json", found)
        yield Path(folder) / "marketplace.json", doors


def _named(homes: list[Path], study: Path | None) -> tuple[Manifest, Path]:
    from datasites.merchant.home import MerchantHome
    from datasites.study.home import ScientistHome
    from ui.web.manifest import Manifest

    merchants = [MerchantHome.open(home) for home in homes]
    scientist = ScientistHome.open(study) if study else None
    if merchants:
        doors = merchants[0].private / "doors.sqlite3"
    else:
        assert scientist is not None
        doors = scientist.root / "private" / "doors.sqlite3"
    return Manifest(
        merchants=tuple(home.root for home in merchants),
        scientist=scientist.root if scientist else None,
    ), doors
