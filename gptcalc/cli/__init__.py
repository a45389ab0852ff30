"""The command line: each file parses the options of one group of commands, calls the library and shows what it returns."""

import os
import sys


def main() -> None:
    """Runs the command line. Exit 0 done, 1 a negative answer, 2 bad input; an error is one line on stderr and perhaps a hint."""
    import typer

    from gptcalc.cli.commands import app
    from gptcalc.errors import GptcalcError

    usage_error: type[Exception] = typer.BadParameter.__mro__[2]  # the ClickException of the click that this typer brings
    try:
        code = app(prog_name="gptcalc", standalone_mode=False)
        sys.stdout.flush()
    except GptcalcError as error:
        fail(str(error), error.hint)
    except usage_error as error:
        _usage(error)
    except typer.Abort:
        fail("interrupted")
    except BrokenPipeError:
        # the reader (head, less) has gone: nothing more to say, and nothing for the interpreter to flush at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    sys.exit(code if isinstance(code, int) else 0)


def fail(message: str, hint: str | None = None) -> None:
    """Exits with 2 after one line, and a hint where there is one."""
    for label, text in (("error", message), ("hint", hint)):
        if text:
            encoding = sys.stderr.encoding or "ascii"
            sys.stderr.write(f"{label}: {' '.join(text.split())}\n".encode(encoding, "backslashreplace").decode(encoding))
    sys.exit(2)


def _usage(error: BaseException) -> None:
    message = str(getattr(error, "format_message", error.__str__)()).strip()
    message, _, near = message.partition(" Did you mean ")
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "gptcalc"
    fail(message[:1].lower() + message[1:].rstrip("."), f"did you mean {near}" if near else f"see '{command} --help'")
