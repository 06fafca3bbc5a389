"""``quantcloud run``: the whole system up for alerts until Ctrl-C."""

import asyncio
import contextlib
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from app.clock import Clock
from app.local.alerts import FIRST_ALERT
from app.local.stack import LocalStack, StackOptions, running_stack
from app.local.supervisor import keep_running
from app.settings import Settings


async def run_stack(settings: Settings, clock: Clock, klines: Path | None, seed: int, directory: Path) -> int:
    """Exit code 0 after Ctrl-C. Raises ProcessFailed or NoRedisServer, once started in a group, when a part cannot be kept up."""
    console = Console(highlight=False)
    market = ("--klines", str(klines)) if klines else ("--synthetic", str(seed))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    serving = asyncio.create_task(_serve(settings, clock, StackOptions(directory, market), console))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if stop.is_set():
        console.print("\nstopping ...")
        serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving
    console.print("stopped")
    return 0


async def _serve(settings: Settings, clock: Clock, options: StackOptions, console: Console) -> None:
    """Until cancelled, then stop everything."""
    async with running_stack(settings, options, clock, lambda part: console.print(f"starting {part} ...")) as stack:
        _welcome(console, settings, stack, options.directory)
        await keep_running(stack, clock, lambda line: console.print(line, markup=False, soft_wrap=True))


def _typed() -> str:
    """How this program was called, for it may not be on the PATH."""
    return sys.argv[0] if Path(sys.argv[0]).name == "quantcloud" else f"{sys.executable} -m app"


def _why_not_trading(stack: LocalStack, operator: str) -> Iterator[str]:
    if paused := stack.found.get("paused"):
        yield f"the trader is paused ({paused}); to trade again: {operator % 'resume'}"
    if halted_by := stack.found.get("halted_by"):
        yield f"breakers have tripped ({', '.join(halted_by)}); when they let go: {operator % 'status'}"
    if stack.found.get("armed") is False:
        yield f"live trading is not armed; to let it trade with real money: {operator % 'arm'}"


def _welcome(console: Console, settings: Settings, stack: LocalStack, directory: Path) -> None:
    body = " ".join(FIRST_ALERT.split())
    operator = f"{_typed()} operator %s --directory {shlex.quote(str(directory))}"
    standing = list(_why_not_trading(stack, operator))
    ready = "started, but no trades are opened" if standing else "ready for alerts"
    for why in standing:
        console.print(f"\n{why}", markup=False, soft_wrap=True)
    console.print(f"\n[bold]{ready}[/] on {stack.gateway_url}  (logs in {directory / 'log'}, Ctrl-C stops)\n", soft_wrap=True)
    console.print(f"curl -s {stack.alert_url} -d '{body}'", soft_wrap=True)
    console.print(f"curl -s {stack.gateway_url}/health", soft_wrap=True)
    console.print(f"{operator % 'pause'}    (or resume, flatten)\n", markup=False, soft_wrap=True)
    if settings.auth.token is None:
        console.print("[dim]the address holds a new token at every start; set QC_AUTH__TOKEN to keep one[/]\n")
