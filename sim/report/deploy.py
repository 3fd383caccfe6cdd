"""Files that bring an advice into a cloud: lines of cinder.conf, scripts, and what undoes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import yaml

from sim.inputs.conf import limits_of
from sim.inputs.images import Image
from sim.inputs.limits import ENABLED, MAX_COUNT, MAX_SIZE
from sim.inputs.problems import printable
from sim.inputs.scenario import Case, Scenario
from sim.inputs.strategies import STRATEGIES
from sim.planner.advise import Advice
from sim.planner.lines import PROJECT, needed_quotas, quota_commands
from sim.report.measuring import measuring, type_lines

USER = "CINDER_INTERNAL_TENANT_USER_ID"
TENANT = ("cinder_internal_tenant_project_id", "cinder_internal_tenant_user_id")
WEIGHER = "PreferClonesWeigher"
DAY_S = 86_400.0
RECENT_S = 30 * DAY_S  # an image is worth a prefetch if users asked for it so lately,
LEAST_CREATES = 2  # so often
# Where cinder-volume asks Glance as itself; Cinder 27 and later need it to register the store's locations.
GLANCE = {
    "auth_type": "password",
    "auth_url": "KEYSTONE_AUTH_URL",
    "username": "cinder",
    "password": "CINDER_KEYSTONE_PASSWORD",
    "user_domain_name": "Default",
    "project_name": "service",
    "project_domain_name": "Default",
}
Value = str | int | bool
Conf = dict[str, dict[str, Value]]  # by section and option


@dataclass(frozen=True)
class Known:
    """What the sources say of a cloud: the section of each backend, the cache's tenant, and the schemes of
    `allowed_direct_url_schemes`. Names in capitals stand for what is not known.
    """

    sections: Mapping[str, str] = field(default_factory=dict)
    project: str = PROJECT
    user: str = USER
    schemes: Sequence[str] = ()

    @classmethod
    def of(cls, folder: Path) -> Known:
        """From the `import.json` in the folder of a scenario, if an import wrote it."""
        try:
            told = json.loads((folder / "import.json").read_text(encoding="utf-8"))["cinder_conf"]
            return cls(**told) if told else cls()
        except (OSError, ValueError, KeyError, TypeError):
            return cls()

    def of_backends(self, scenario: Scenario) -> dict[str, str]:
        """The section of each backend; the backend's own name where services have sections of one name."""
        found = {name: self.sections.get(name, name) for name in scenario.backends}
        several = {section for section in found.values() if list(found.values()).count(section) > 1}
        return {name: name if section in several else section for name, section in found.items()}


def write_deploy(advice: Advice, known: Known, folder: Path) -> None:
    """Write `deploy/` into a new folder. Raises OSError."""
    before, after = confs(advice, known)
    quota, undo_quota = _quotas(advice, known)
    texts = _texts(after, Path()) | _texts(before, Path("undo"))
    if quota:
        texts |= {Path("quotas.sh"): _script(quota), Path("undo", "quotas.sh"): _script(undo_quota)}
    templates = files("sim.report") / "templates" / "deploy"
    named = [value for conf in (before, after) for options in conf.values() for value in options.values()]
    named += " ".join(quota).split()
    names = ["tenant.sh"] if PROJECT in named or USER in named else []
    cached = any(limits.enabled for limits in limits_of(advice.last.scenario, advice.strategy).values())
    if cached:
        names.append("prefetch.sh")
        texts[Path("prefetch-images.txt")] = prefetched_images(advice.last, advice.strategy)
        texts[Path("prefetch-types.txt")] = prefetched_types(advice.last.scenario, advice.strategy)
    if advice.document["actions"]:
        texts |= measuring(advice, next((image for image, _ in asked_for(advice.last)), None))
    for name in names:
        texts[Path(name)] = (templates / name).read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=False, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    page = environment.from_string((templates / "README.md.j2").read_text(encoding="utf-8"))
    told = {
        "document": advice.document,
        "levers": {action["lever"].partition(":")[0] for action in advice.document["actions"]},
        "placeholders": sorted({name for name in (*GLANCE.values(), BACKEND_URL) if _uses(after, name)}),
        "tenant": "tenant.sh" in names,
        "cached": cached,
        "quota": bool(quota),
        "conf": bool(after),
        "printable": printable,
    }
    texts[Path("README.md")] = page.render(told) + "\n"
    for path, text in texts.items():
        target = folder / "deploy" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        if target.suffix == ".sh":
            target.chmod(0o755)


BACKEND_URL = "COORDINATION_BACKEND_URL"


def _uses(conf: Conf, name: str) -> bool:
    return name.isupper() and any(name in options.values() for options in conf.values())


def confs(advice: Advice, known: Known) -> tuple[Conf, Conf]:
    """The lines of cinder.conf that are to change: as they are today, and with all actions."""
    now, then = advice.today.scenario, advice.last.scenario
    strategy = advice.document["today"]["strategy"]
    old, new = _conf(now, strategy, known), _conf(then, advice.strategy, known)
    changed = {
        (section, option)
        for section in (*old, *new)
        for option in (*old.get(section, {}), *new.get(section, {}))
        if old.get(section, {}).get(option) != new.get(section, {}).get(option)
    }
    if not changed:
        return {}, {}
    # An option that is not to change stays out, but those of a cache and of its tenant are given whole.
    whole = set(known.of_backends(then).values())

    def left(conf: Conf) -> Conf:
        found: Conf = {}
        for section, options in conf.items():
            kept = {
                option: value
                for option, value in options.items()
                if (section, option) in changed or section in whole or option in TENANT
            }
            if kept:
                found[section] = kept
        return found

    return left(old), left(new)


def _conf(scenario: Scenario, strategy: str, known: Known) -> Conf:
    """All options that advice may change, as a scenario and its strategy have them."""
    limits = limits_of(scenario, strategy)
    default: dict[str, Value] = {}
    if any(each.enabled for each in limits.values()):
        default["cinder_internal_tenant_project_id"] = known.project
        default["cinder_internal_tenant_user_id"] = known.user
    store = STRATEGIES[strategy].uses_store
    others = [scheme for scheme in known.schemes if scheme != "cinder"]
    default["allowed_direct_url_schemes"] = ",".join([*others, *(["cinder"] if store else [])])
    weighers = list(scenario.cinder.scheduler_default_weighers)
    if scenario.what_if.prefer_clones:
        weighers.insert(0, WEIGHER)
    default["scheduler_default_weighers"] = ",".join(weighers)
    # With the store. Without it, an operator's own section may stay.
    conf: Conf = {"DEFAULT": default, **({"glance": dict(GLANCE)} if store else {})}
    own = "file://$state_path"  # Cinder's default
    conf["coordination"] = {"backend_url": own if scenario.cinder.lock_scope == "node" else BACKEND_URL}
    sections = known.of_backends(scenario)
    for name, each in limits.items():
        of_cache: dict[str, Value] = {ENABLED: each.enabled}
        if each.enabled:
            of_cache |= {MAX_SIZE: each.max_size_gb, MAX_COUNT: each.max_count}
        conf[sections[name]] = of_cache
    return conf


# -- the ways to deploy --------------------------------------------------------------------------------


def _texts(conf: Conf, under: Path) -> dict[Path, str]:
    """The lines for each way to deploy Cinder, by path."""
    if not conf:
        return {}
    scheduler = {"scheduler_default_weighers"}
    volume = _without(conf, scheduler)
    weighing = {"DEFAULT": {k: v for k, v in conf.get("DEFAULT", {}).items() if k in scheduler}}
    kolla = under / "kolla-ansible" / "etc" / "kolla" / "config" / "cinder"
    found = {under / "cinder.conf": ini(conf)}
    if volume:
        found[kolla / "cinder-volume.conf"] = ini(volume)
    if weighing["DEFAULT"]:
        found[kolla / "cinder-scheduler.conf"] = ini(weighing)
    found[under / "openstack-ansible" / "user_variables.yml"] = _yaml({"cinder_cinder_conf_overrides": conf})
    whole = ("DEFAULT", "glance", "coordination")
    # The chart makes the project of the cache, and its ids come after all values.
    helm = _without(conf, set(TENANT))
    values: dict[str, Any] = {"cinder": {section: helm[section] for section in whole if section in helm}}
    backends = {section: options for section, options in helm.items() if section not in whole}
    values |= {"backends": backends} if backends else {}
    found[under / "openstack-helm" / "values.yaml"] = _yaml({"conf": {k: v for k, v in values.items() if v}})
    return found


def _without(conf: Conf, options: set[str]) -> Conf:
    left = {name: {k: v for k, v in of.items() if k not in options} for name, of in conf.items()}
    return {name: of for name, of in left.items() if of}


def ini(conf: Conf) -> str:
    """The lines as oslo.config reads them."""
    parts = []
    for section, options in conf.items():
        lines = [
            f"{name} = {str(value).lower() if isinstance(value, bool) else value}"
            for name, value in options.items()
        ]
        parts.append("\n".join([f"[{section}]", *(line.rstrip() for line in lines)]))
    return "\n\n".join(parts) + "\n"


def _yaml(document: Mapping[str, Any]) -> str:
    return "---\n" + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)


# -- quotas and prefetching ----------------------------------------------------------------------------


def _quotas(advice: Advice, known: Known) -> tuple[list[str], list[str]]:
    """The commands that raise the quotas of the cache's project, and those that set today's again."""
    now, then = advice.today.scenario, advice.last.scenario
    limits = now.cinder.tenant_limits()
    if not limits or then.cinder.tenant_limits():
        return [], []
    needed = needed_quotas(now, then, limits_of(then, advice.strategy), advice.runs)
    wanted = {name: value for name, value in needed.items() if value is not None}
    back = {name: limits[name] for name in wanted}
    return quota_commands(wanted, known.project), quota_commands(back, known.project)


def _script(commands: Sequence[str]) -> str:
    return "\n".join(["#!/bin/sh", "# Set the quotas of the cache's project.", "set -eu", *commands]) + "\n"


def prefetched_images(case: Case, strategy: str) -> str:
    """The images that are worth it, one a line, the one that users ask for most first."""
    limits = [each for each in limits_of(case.scenario, strategy).values() if each.enabled]
    most = max(each.max_size_gb or float("inf") for each in limits)
    lines = [
        "# Images that are worth a prefetch: users asked for them twice or more in the last 30 days of the",
        "# history, and a cache takes them. The first has the most creates. A new release has a new id: give",
        "# prefetch.sh that id, or write it here.",
    ]
    for image, creates in asked_for(case):
        if creates >= LEAST_CREATES and image.virtual_gib <= most:
            lines.append(f"{printable(image.image_id)}  # {creates:,} creates, {printable(image.name)}")
    return "\n".join(lines) + "\n"


def asked_for(case: Case) -> list[tuple[Image, int]]:
    """The images of late that still exist, each with its creates, the one with the most first."""
    events = case.trace.events
    asked = events[(events["event"] == "create") & (events["image_id"] != "")]
    asked = asked[asked["time"] >= case.last_create_s - RECENT_S]
    counts = asked["image_id"].astype("str").value_counts()
    gone = set(events.loc[events["event"] == "delete_image", "image_id"].astype(str))
    found = [(case.images[str(name)], int(creates)) for name, creates in counts.items() if name not in gone]
    return sorted(found, key=lambda each: (-each[1], each[0].image_id))


def prefetched_types(scenario: Scenario, strategy: str) -> str:
    """The volume types whose backends have a cache, one a line: the type, its pools, and its zone."""
    on = {name for name, limits in limits_of(scenario, strategy).items() if limits.enabled}
    lines = [
        "# Volume type, how many pools it has, and its availability zone, with tabs between them. Cinder's",
        "# scheduler chooses the pool: as many volumes as there are pools usually reach all of them, and",
        "# prefetch.sh says which ones it reached.",
    ]
    return "\n".join([*lines, *type_lines(scenario, on)]) + "\n"
