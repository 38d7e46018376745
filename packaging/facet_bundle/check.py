"""`--check`: a preview build and the Linux twin with every audit and every negative test."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from facet_bundle import (
    archive,
    dmg_check,
    gates,
    layout,
    negatives,
    products,
    release,
    runtime,
    standalone_check,
    twin,
    twin_app,
    workflows,
)
from facet_bundle.audits import sealed
from facet_bundle.audits.finding import Finding
from facet_bundle.errors import PackagingError
from facet_bundle.layout import Bundle
from facet_bundle.products import Products, Workshop
from facet_bundle.prune import Pruner
from facet_bundle.tools import ensure_tools


@dataclass(slots=True)
class _Log:
    """Findings so far and how long each step took."""

    passed: int = 0
    failed: int = 0
    began: float = field(default_factory=time.monotonic)

    @contextlib.contextmanager
    def step(self, title: str, *, fatal: bool = False) -> Iterator[list[Finding]]:
        """Time one step; what it adds to the list counts as its findings, and so does an error."""
        start, busy = time.monotonic(), _cpu_seconds()
        mine: list[Finding] = []
        try:
            yield mine
        except PackagingError as error:
            if fatal:
                raise
            mine.append(Finding("check", title, str(error)))
        verdict = gates.judge(mine, preview=True)
        self.passed += not verdict.errors
        self.failed += bool(verdict.errors)
        state = "ok" if not verdict.errors else "FAILED"
        took, worked = time.monotonic() - start, _cpu_seconds() - busy
        print(f"{state:6} {title} ({took:.1f} s, {worked:.1f} s of CPU)", flush=True)
        release.report(mine, preview=True)

    def close(self) -> int:
        """Say how it went; the exit status."""
        print(f"took {time.monotonic() - self.began:.0f} s, {_cpu_seconds():.0f} s of CPU")
        print(f"{self.passed} passed, {self.failed} failed")
        return 1 if self.failed else 0


def _cpu_seconds() -> float:
    """Of this process and its finished children: what a step costs on a busy machine too."""
    return sum(os.times()[:4])


@dataclass(frozen=True, slots=True)
class _Setting:
    """Where the check works."""

    work: Path
    shop: Workshop


def run(out: Path, cache: Path, python: Path | None) -> int:
    """Exit status 1 if anything was found; the built preview stays in `out`."""
    log = _Log()
    work = out / "check"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    with log.step("tools and wheels", fatal=True):
        tools = ensure_tools(cache)
        host = runtime.host_python(tools, python)
        setting = _Setting(work, Workshop(tools, cache, host, layout.copy_own(work / "own")))
        _fetch(setting)
    _workflows(log, cache)
    built = Products.below(out, preview=True)
    twin_bundle, pruners = _build_all(log, setting, built)
    traced = _try_twin(log, setting, twin_bundle)
    _audit_mac(log, setting, built, traced, pruners)
    _archives(log, setting, built)
    shutil.rmtree(work, ignore_errors=True)
    return log.close()


def _workflows(log: _Log, cache: Path) -> None:
    with log.step("workflows: actionlint and ShellCheck") as found:
        linter = workflows.linter(cache)
        found += workflows.all_findings(linter)
    with log.step("negative: mistakes in a workflow are seen") as found:
        found += workflows.blind_spots(workflows.linter(cache))


def _fetch(setting: _Setting) -> None:
    """Everything from the network, once, at the same time."""
    with ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(_mac_recipe, setting),
            pool.submit(products.twin_recipe, setting.shop),
            pool.submit(negatives.other_mlx, setting.shop.tools, setting.shop.cache),
        ]
        for job in jobs:
            job.result()


def _mac_recipe(setting: _Setting) -> layout.Recipe:
    return products.mac_recipe(setting.shop, preview=True, standalone=False)


def _build_all(log: _Log, setting: _Setting, built: Products) -> tuple[Bundle, list[Pruner]]:
    """The preview twice (it must be the same twice) and the twin."""
    recipe = _mac_recipe(setting)
    with log.step("assemble Facet.app", fatal=True):
        bundle, mac_pruner = layout.assemble(recipe, built.app)
    with log.step("assemble it again: the same tree, bit for bit", fatal=True) as found:
        again, _ = layout.assemble(recipe, setting.work / "again" / built.app.name)
        found += sealed.differences(
            sealed.manifest(bundle.root), sealed.manifest(again.root), "reproducible"
        )
    with log.step("assemble the Linux twin", fatal=True) as found:
        twin_recipe = products.twin_recipe(setting.shop)
        twin_bundle, twin_pruner = layout.assemble(
            twin_recipe, setting.work / "twin" / built.app.name
        )
        found += gates.stale_rules(mac_pruner, twin_pruner)
    with log.step("python-build-standalone: fetched, verified, laid down (local archive)") as found:
        (setting.work / "standalone").mkdir()
        found += standalone_check.findings(setting.shop, setting.work / "standalone")
    return twin_bundle, [mac_pruner, twin_pruner]


def _try_twin(log: _Log, setting: _Setting, built: Bundle) -> list[str]:
    """Run the twin; returns the modules its runs had loaded."""
    moved = twin.Twin.move(built.root, setting.work / "moved")
    before = sealed.manifest(moved.bundle.root)
    traced = _run_all(log, moved, before)
    with log.step("negative: a file written into the bundle is seen") as found:
        found += negatives.written_file_is_seen(moved, before)
    return traced


def _run_all(log: _Log, moved: twin.Twin, before: sealed.Manifest) -> list[str]:
    """Interpreter, libraries, app and demo model of a bundle; and that it is unchanged after."""
    traced: list[str] = []
    with log.step("run: own interpreter in hostile surroundings") as found:
        found += twin.interpreter(moved)
    with log.step("run: every library works, spawned child included") as found:
        broken, traced = twin.libraries(moved, twin_app.heic_picture(moved.scratch))
        found += broken
    for title, check in twin_app.checks(moved.bundle):
        with log.step(f"run: {title}") as found:
            found += check(moved)
    with log.step("run: nothing was written into the bundle") as found:
        found += sealed.differences(before, sealed.manifest(moved.bundle.root))
    return traced


def try_out(app: Path, out: Path) -> int:
    """Run a finished bundle on this machine, from a copy at another path; for CI on a Mac."""
    log = _Log()
    moved = twin.Twin.move(app.resolve(), out.resolve() / "tried", copy=True)
    _run_all(log, moved, sealed.manifest(moved.bundle.root))
    return log.close()


def _audit_mac(
    log: _Log, setting: _Setting, built: Products, traced: list[str], pruners: list[Pruner]
) -> None:
    bundle = Bundle(built.app)
    with log.step("audit Facet.app") as found:
        found += gates.audit(bundle, traced) + gates.entitlements(built.entitlements)
    release.print_sizes(bundle)
    for title, test in negatives.tests(setting.shop.tools, setting.shop.cache):
        with log.step(f"negative: {title}") as found:
            found += test(bundle)
    print(f"pruned {sum(rule.bytes for rule in pruners[0].rules) / 1e6:.0f} MB")


def _archives(log: _Log, setting: _Setting, built: Products) -> None:
    bundle = Bundle(built.app)
    second = setting.work / "again" / built.app.name
    with log.step("disk image and zip; the second build's zip is the same") as found:
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(products.write_archives, built, setting.shop.tools)
            other = pool.submit(archive.write_zip, second, setting.work / "again.zip")
            first.result()
            other.result()
        if built.zip.read_bytes() != (setting.work / "again.zip").read_bytes():
            found.append(Finding("reproducible", built.zip.name, "differs between two builds"))
    with log.step("disk image unpacked by 7z: the same files") as found:
        found += dmg_check.compare(built.dmg, bundle.root, setting.work / "unpacked")
    with log.step("disk image's look: the same twice, the picture's numbers right") as found:
        (setting.work / "face").mkdir()
        found += dmg_check.face(setting.shop.tools, setting.work / "face")
    products.write_sidecars(bundle, built)
    for path in (built.dmg, built.zip):
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")
