"""The state store: one 0700 directory a container, its state replaced as a whole, under a lock.

Nothing is synced to disk: a container does not outlive the boot, and a state of another boot is
recognised by its boot id. A rename is atomic towards every other process, which is what counts here.
"""

from __future__ import annotations

import errno
import fcntl
import posix

from pyoci import native
from pyoci.errors import KernelError, NotFoundError, OCIError, StateError
from pyoci.paths import absolute, is_directory, is_link, make_folders, real, remove_tree
from pyoci.spec import jsontext
from pyoci.state import check_id, default_root, may_be_id, parse_state, unreadable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from pyoci.state import State

Stamp = tuple[int, int, int]
STATE = "state.json"
_FRESH = 200_000_000  # nanoseconds
_FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)
# What is no fault of the state file, so that it is not to be removed for it.
_CALLERS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES, errno.EIO)


class Entry:
    """One container's directory, held open; files are reached through the fd, never by a path again."""

    __slots__ = ("dir_path", "fd", "id")

    def __init__(self, root: str, id: str) -> None:
        self.id = id
        self.dir_path = f"{root}/{id}"
        self.fd = -1
        how = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC
        (self.fd,) = map(posix.open, (self.dir_path,), (how,))  # see native: what an interrupt does not lose

    def __enter__(self) -> Entry:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            try:
                posix.close(fd)
            except OSError:
                pass  # it is released all the same (close(2)), and what was done stays done

    def __del__(self) -> None:
        try:
            self.close()
        except AttributeError:
            pass  # its making was interrupted

    def _path(self, name: str) -> str:
        """A file of the container, by the fd: for `map`, which passes no dir_fd=."""
        return f"/proc/self/fd/{self.fd}/{name}"

    def lock(self, seconds: float = 30.0) -> None:
        """Take the container's lock (flock(2) on the directory itself, which is never replaced).

        Args:
            seconds: how long to wait for another pyoci that works on it.

        Raises:
            StateError: it is still held then, or the container was deleted meanwhile.
        """
        end = 0.0
        pause = 0.001
        while True:
            try:
                fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                import time  # reads the time zone: only when there is something to wait for

                now = time.monotonic()
                end = end or now + seconds
                if now >= end:
                    raise StateError(
                        f"container {self.id} is busy",
                        why=f"another pyoci has worked on it for {seconds:g} seconds",
                        todo="wait for it, or end it",
                    ) from None
                time.sleep(pause)
                pause = min(pause * 2, 0.05)
        if posix.fstat(self.fd).st_nlink == 0:
            raise NotFoundError("container does not exist", where=self.dir_path)

    def unlock(self) -> None:
        fcntl.flock(self.fd, fcntl.LOCK_UN)

    def read(self) -> State:
        """The state.

        Raises:
            StateError: there is none, or it is unreadable.
            KernelError: the caller cannot read it now.
        """
        return parse_state(self.read_blob(STATE), f"{self.dir_path}/{STATE}")

    def stamp(self) -> Stamp:
        """What tells one version of the state file from the next, as each is a new file; zeros when there is none."""
        try:
            st = posix.stat(STATE, dir_fd=self.fd, follow_symlinks=False)
        except OSError:
            return 0, 0, 0
        return st.st_ino, st.st_mtime_ns, st.st_size

    def settled(self) -> Stamp:
        """The stamp, once nobody is about to write the first state or to remove the last one.

        Raises:
            StateError: the container was deleted meanwhile.
        """
        stamp = self.stamp()
        for _ in range(1000):
            if stamp[0]:
                break
            st = posix.fstat(self.fd)
            if st.st_nlink == 0:
                raise NotFoundError("container does not exist", where=self.dir_path)
            try:
                fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                fcntl.flock(self.fd, fcntl.LOCK_UN)
                stamp = self.stamp()
                # Nobody is at work: what is there stays as it is. But who has just made the folder may not have locked it yet.
                if stamp[0] or native.lib.pyoci_now() - st.st_mtime_ns > _FRESH:
                    return stamp
            except BlockingIOError:
                pass
            import time

            time.sleep(0.001)
            stamp = self.stamp()
        return stamp

    def write(self, state: State) -> None:
        self.write_blob(STATE, jsontext.dumps(state.document()).encode("utf-8", "backslashreplace"))

    def write_blob(self, name: str, data: bytes) -> None:
        """Write a file of the container as a whole: others see all of the old one, or all of the new.

        Raises:
            OCIError: the state root is full or read-only.
        """
        self.stage_blob(name, data)
        self.commit_blob(name)

    def stage_blob(self, name: str, data: bytes) -> None:
        """Write the file beside its place, where it takes all the room that it needs; raises as `write_blob` does."""
        temporary = f".{name}.tmp"
        made = False
        try:
            how = posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_NOFOLLOW | posix.O_CLOEXEC
            (fd,) = map(posix.open, (self._path(temporary),), (how,), (0o600,))
            made = True
            try:
                view = memoryview(data)
                while view:
                    view = view[posix.write(fd, view) :]
            finally:
                posix.close(fd)
        except OSError as e:
            if made:
                self.drop_blob(name)
            raise self._unwritten(name, e) from None

    def drop_blob(self, name: str) -> None:
        """Remove what `stage_blob` has written."""
        try:
            posix.unlink(f".{name}.tmp", dir_fd=self.fd)
        except OSError:
            pass

    def _unwritten(self, name: str, e: OSError) -> OCIError:
        return OCIError(
            "cannot write the container's state",
            where=f"{self.dir_path}/{name}",
            why=(e.strerror or "").lower(),
            todo="free room under --root, or name another one",
        )

    def commit_blob(self, name: str) -> None:
        """Put what `stage_blob` has written in its place; raises as `write_blob` does."""
        temporary = f".{name}.tmp"
        try:
            # ext4 writes a file out that is renamed over another, which takes up to a millisecond; not after an exchange
            if native.exchange(self.fd, temporary, name):
                posix.unlink(temporary, dir_fd=self.fd)
            else:
                posix.rename(temporary, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        except OSError as e:
            self.drop_blob(name)
            raise self._unwritten(name, e) from None

    def read_blob(self, name: str) -> bytes:
        """A file of the container.

        Raises:
            StateError: there is none, or it is unreadable.
            KernelError: the caller cannot read it now.
        """
        where = f"{self.dir_path}/{name}"
        try:
            return self._read(name)
        except OSError as e:
            if e.errno in _CALLERS:
                why = native.errno_text(e.errno)
                raise KernelError("cannot read the container's state", errno=e.errno, where=where, why=why) from None
            raise unreadable(where, (e.strerror or "").lower()) from None

    def _read(self, name: str) -> bytes:
        how = posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_CLOEXEC
        (fd,) = map(posix.open, (self._path(name),), (how,))
        try:
            parts: list[bytes] = []
            # bounded: what stands there may be a device, which has no end
            while len(parts) <= jsontext.LIMIT >> 20 and (part := posix.read(fd, 1 << 20)):
                parts.append(part)
            return b"".join(parts)
        finally:
            posix.close(fd)

    def remove(self) -> None:
        """Remove the directory and what is in it; missing is fine.

        Raises:
            StateError: the state root is read-only, or the caller may not change it.
        """
        try:
            self._remove()
        except OSError as e:
            raise StateError(
                "cannot remove the container's state",
                where=self.dir_path,
                why=(e.strerror or "").lower(),
                todo="have --root writable, then delete again" if e.errno in _FORBIDDEN else "delete again",
            ) from None

    def _remove(self) -> None:
        # the state last: until then a delete that was ended on the way can be done again
        for name in sorted(posix.listdir(self.fd), key=STATE.__eq__):
            try:
                posix.unlink(name, dir_fd=self.fd)
            except FileNotFoundError:
                pass
            except (IsADirectoryError, PermissionError):
                remove_tree(name, self.fd)
        try:
            posix.rmdir(self.dir_path)
        except FileNotFoundError:
            pass


class Store:
    """All containers below one state root.

    Args:
        root: directory, made 0700 when needed.
    """

    __slots__ = ("root",)

    def __init__(self, root: str) -> None:
        self.root = absolute(root)

    def _check_root(self) -> None:
        """A root that others can write, or that is a symlink, could be swapped under us."""
        st = posix.lstat(self.root)
        bad, todo = "", "name another"
        if is_link(st.st_mode):
            bad, todo = "it is a symbolic link", f"name the folder itself: {real(self.root)}"
        elif not is_directory(st.st_mode):
            bad = "it is not a directory"
        elif st.st_mode & 0o022:
            bad, todo = "others may write to it", f"chmod 700 {self.root}, or name another"
        elif st.st_uid not in (0, posix.geteuid()):
            bad = "it belongs to another user"
        if bad:
            raise StateError(f"the state root {self.root} is not safe", where="--root", why=bad, todo=todo)

    def create(self, id: str) -> Entry:
        """Claim an id; mkdir decides who wins.

        Raises:
            StateError: the id is in use, or the root is not safe.
            OCIError: the root cannot be made.
        """
        check_id(id)
        path = f"{self.root}/{id}"
        made: list[None] = []
        try:
            self._make(path, made)
            self._check_root()
            return Entry(self.root, id)
        except BaseException:
            if made:
                posix.rmdir(path)
            raise

    def _make(self, path: str, made: list[None]) -> None:
        """Make the directory; `made` is no longer empty once it is there (see native: what an interrupt does not lose)."""
        try:
            try:
                made += map(posix.mkdir, (path,), (0o700,))
            except FileNotFoundError:
                # sticky: the XDG base directory specification spares such folders when it has old ones removed
                make_folders(self.root, 0o1700 if self.root == default_root() else 0o700)
                made += map(posix.mkdir, (path,), (0o700,))
        except FileExistsError:
            foreign = self._not_found(path.rpartition("/")[2])
            todo = foreign.todo or "delete it, or use another id"
            raise StateError("container with given ID already exists", where=path, why=foreign.why, todo=todo) from None
        except OSError as e:
            raise OCIError(
                "cannot make the state directory",
                where=path,
                why=(e.strerror or "").lower(),
                todo="name a writable --root",
            ) from None

    def open(self, id: str) -> Entry:
        """Open a container.

        Raises:
            StateError: it does not exist.
        """
        check_id(id)
        try:
            entry = Entry(self.root, id)
        except OSError as e:
            if e.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise self._not_found(id) from None
            raise StateError(
                "cannot open the container's state", where=f"{self.root}/{id}", why=(e.strerror or "").lower()
            ) from None
        try:
            self._check_root()
        except BaseException:
            entry.close()
            raise
        return entry

    def _not_found(self, id: str) -> NotFoundError:
        """That it does not exist; `why` is what stands in its place, "" where nothing does."""
        path, why, todo = f"{self.root}/{id}", "", ""
        try:
            mode = posix.lstat(path).st_mode
            if not is_directory(mode):  # else it came this moment
                kind = "a symbolic link" if is_link(mode) else "a file"
                why, todo = f"{kind} has its name, and is no container's folder", "remove it, or use another id"
        except NotADirectoryError:
            why, todo = "the state root is no folder", "name another --root"
        except OSError:
            pass
        return NotFoundError("container does not exist", where=path, why=why, todo=todo)

    def ids(self) -> list[str]:
        """Ids of all containers, in no order.

        Raises:
            StateError: the root cannot be read.
        """
        try:
            names = posix.listdir(self.root)
        except FileNotFoundError:
            return []
        except OSError as e:
            raise StateError(
                "cannot read the state root",
                where=f"--root {self.root}",
                why=(e.strerror or "").lower(),
                todo="name the folder that the containers were made with, as their owner",
            ) from None
        return [n for n in names if may_be_id(n)]
