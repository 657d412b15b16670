# SPDX-License-Identifier: BSD-3-Clause
"""Output files that appear complete or not at all."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from typing import BinaryIO


@contextlib.contextmanager
def atomic_output(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Open a binary file that becomes `path` when the block ends without an exception.

    The bytes go to a temporary file in the same directory, which then replaces `path` in one
    step. On any exception, KeyboardInterrupt included, the temporary file is removed and an
    existing `path` is left as it was. Symbolic links are followed, permissions are kept.

    Raises
    ------
    OSError
        If `path` cannot be written, or exists and is not a regular file. It names `path`.
    """
    target = os.path.realpath(path)
    exists = os.path.lexists(target)
    if exists:
        _check_replaceable(target, path)
    # The temporary name must sit in the same directory: a rename is atomic only within one
    # file system. It does not contain the final name, which may already be as long as allowed.
    temporary = os.path.join(os.path.dirname(target), f".dwconv-{os.urandom(8).hex()}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if exists:
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.filename in (None, temporary) and error.errno:
            raise OSError(error.errno, os.strerror(error.errno), os.fspath(path)) from error
        raise


def _check_replaceable(target: str, path: str | os.PathLike) -> None:
    """Refuse directories and devices (a rename would replace them), and read-only files."""
    if os.path.isdir(target):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not os.path.isfile(target):
        raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
    if not os.access(target, os.W_OK):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
