"""The command line: each file parses the options of one group of commands, calls the library and shows what it returns."""

import os
import sys
from typing import Any

BAD_INPUT, FAULT, INTERRUPTED = 2, 70, 130


def main() -> None:
    """Runs the command line and exits: 0 done, 1 a negative answer, 2 bad input, 70 a fault of the program's own.

    An error is one line on stderr and perhaps a hint. GPTCALC_TRACEBACK=1 shows developers where an unforeseen one comes from.
    """
    from gptcalc.errors import GptcalcError, NegativeAnswer

    _prepare_output()
    try:
        sys.exit(_run(_arguments(sys.argv[1:])))
    except GptcalcError as error:
        fail(str(error), error.hint, code=1 if isinstance(error, NegativeAnswer) else BAD_INPUT)
    except BrokenPipeError:
        _leave_output()  # the reader (head, less) has gone: nothing more to say
        sys.exit(0)
    except KeyboardInterrupt:
        fail("interrupted", code=INTERRUPTED)
    except Exception as error:
        if isinstance(error, OSError) and error.filename is None:  # of what is being written: what cannot be opened has a name
            _leave_output()
            fail(f"cannot write the answer: {(error.strerror or str(error) or type(error).__name__).lower()}")
        if os.environ.get("GPTCALC_TRACEBACK"):
            raise
        _fault(error)


def _run(arguments: list[str]) -> int:
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # gptcalc has none, and looking for them reads every installed package
    import typer

    from gptcalc.cli.commands import COMMANDS, application

    # Typer makes a command of every function, with all its options, before it calls one: of what is not asked for it is spared that.
    app = application(arguments[0] if arguments[0] in COMMANDS else None)
    usage_error: type[Exception] = typer.BadParameter.__mro__[2]  # the ClickException of the click that this typer brings
    try:
        code = app(arguments, prog_name="gptcalc", standalone_mode=False)
        sys.stdout.flush()
    except usage_error as error:
        _usage(error)
    except typer.Abort:
        raise KeyboardInterrupt from None
    except SystemExit as stopped:
        if isinstance(stopped.__context__, BrokenPipeError):  # of which Typer makes 1, our negative answer
            raise stopped.__context__ from None
        raise
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    return code if isinstance(code, int) else 0


def _arguments(typed: list[str]) -> list[str]:
    """What was typed, or the help page: `gptcalc` alone asks for it, and `gptcalc help train` for that of a command."""
    if not typed:
        return ["--help"]
    return [*typed[1:], "--help"] if typed[0] == "help" else typed


def _prepare_output() -> None:
    """Text that this output cannot show is written in what it can; and each answer is out before a line on stderr."""
    import codecs

    if sys.stdout is None:
        sys.stdout = _closed()
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - as long as the process
    codecs.register_error("gptcalc", _plainer)
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="gptcalc", line_buffering=True)


def _plainer(error: UnicodeError) -> tuple[str, int]:
    """A codec's way out: `*` for `·`, an escape where there is nothing near."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    from gptcalc.show.table import ASCII

    text = error.object[error.start : error.end]
    return text.translate(ASCII).encode("ascii", "backslashreplace").decode(), error.end


def _closed() -> Any:
    """Standard output where the caller closed it (`>&-`)."""
    import errno
    import io

    class Closed(io.StringIO):
        def write(self, text: str) -> int:  # noqa: ARG002 - of a file
            raise OSError(errno.EBADF, "standard output is closed")

    return Closed()


def _leave_output() -> None:
    """Nothing is left for the interpreter to flush at exit."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # it is no file
        return


def fail(message: str, hint: str | None = None, code: int = BAD_INPUT) -> None:
    """Exits after one line on stderr, and a hint where there is one; neither can steer a terminal."""
    if sys.stderr is not None:
        from gptcalc.spec.reading import printable

        encoding = sys.stderr.encoding or "ascii"
        lines = [f"{label}: {printable(text)}\n" for label, text in (("error", message), ("hint", hint)) if text]
        try:
            sys.stderr.write("".join(lines).encode(encoding, "backslashreplace").decode(encoding))
            sys.stderr.flush()
        except OSError:  # a full disk, which leaves the exit code to tell
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    sys.exit(code)


def _fault(error: Exception) -> None:
    from shlex import join

    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    hint = f"please report it with the command that led to it: {join(['gptcalc', *sys.argv[1:]])[:500]}"
    fail(f"a fault of gptcalc's own, not of what was typed ({what[:300]})", hint, FAULT)


def _usage(error: BaseException) -> None:
    message = str(getattr(error, "format_message", error.__str__)()).strip()
    context = getattr(error, "ctx", None)
    option = getattr(error, "option_name", None)
    hint = getattr(error, "hint", None)
    if option is not None and context is not None:
        from gptcalc.errors import did_you_mean

        message = str(getattr(error, "message", message))
        names = [name.lstrip("-") for one in context.command.params for name in (*one.opts, *one.secondary_opts)]
        near = did_you_mean(option.lstrip("-"), names)
        hint = near and near.replace("'", "'--", 1).replace("or '", "or '--")
    message, _, near = message.partition(" Did you mean ")
    command = context.command_path if context else "gptcalc"
    fail(message[:1].lower() + message[1:].rstrip("."), hint or (f"did you mean {near}" if near else f"see '{command} --help'"))
