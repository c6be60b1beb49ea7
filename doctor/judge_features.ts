/**
 * Whether kernel and tools can do what the rules need: of the backends that may be used, one must.
 *
 * @module
 */
import type { BackendName } from "../nft/backend.ts";
import { type Finding, finding, fine } from "./findings.ts";
import type { HostFacts } from "./host_facts.ts";
import { NO_CGROUP, type Probe, PROBES } from "./probes.ts";
import type { Subject } from "./subject.ts";

const BACKENDS: readonly BackendName[] = ["nft", "iptables", "iptables-legacy"];
/** Without it a watchdog does the same. */
const REPLACEABLE = "nft-owner-table";

/** Judges what was tried. */
export function judgeFeatures(facts: HostFacts, subject: Subject): Finding[] {
  if (facts.probes.size === 0) return [noScratch()];
  const candidates = candidatesOf(subject);
  const usable = candidates.filter((backend) => lacks(facts, subject, backend).length === 0);
  return [
    ...judgeBackends(facts, subject, candidates, usable),
    ...PROBES.map((probe) => judgeProbe(probe, facts, subject, candidates, usable)),
  ];
}

function candidatesOf({ config: { rules } }: Subject): readonly BackendName[] {
  return rules === "auto" || rules === "none" ? BACKENDS : [rules];
}

/** The needed probes of `backend` that failed. */
function lacks(facts: HostFacts, { intent }: Subject, backend: BackendName): Probe[] {
  return PROBES.filter((probe) =>
    probe.backend === backend && probe.id !== REPLACEABLE && probe.isNeeded(intent) &&
    facts.probes.get(probe.id) !== null
  );
}

function judgeBackends(
  facts: HostFacts,
  subject: Subject,
  candidates: readonly BackendName[],
  usable: readonly BackendName[],
): Finding[] {
  if (usable.length > 0) return [fine("features.backend", `rules can be managed by ${usable.join(", ")}`)];
  const missing = candidates.map((backend) =>
    `${backend} (${lacks(facts, subject, backend).map(({ id }) => id).join(", ")})`
  );
  return [finding("error", "features.backend", {
    found: `no tool can do all that these rules need: ${missing.join("; ")}`,
    breaks: "rules cannot be put in place, and the start fails",
    mend: lacks(facts, subject, candidates[0]!)[0]!.mend,
  })];
}

function judgeProbe(
  probe: Probe,
  facts: HostFacts,
  subject: Subject,
  candidates: readonly BackendName[],
  usable: readonly BackendName[],
): Finding {
  const said = facts.probes.get(probe.id);
  if (said === null) return fine(`features.${probe.id}`, `${probe.what}: works`);
  const found = `${probe.what}: ${shorten(said ?? "not tried")}`;
  const isNeeded = probe.isNeeded(subject.intent);
  const text = { found, mend: mendOf(probe, said ?? "") };
  if (probe.backend === "all") {
    return isNeeded && probe.id === "route-4"
      ? finding("error", `features.${probe.id}`, {
        ...text,
        breaks: "TPROXY: what is taken does not reach us",
      })
      : finding(isNeeded ? "warning" : "info", `features.${probe.id}`, {
        ...text,
        breaks: isNeeded ? "traffic of this family is not taken and passes untouched" : "",
      });
  }
  if (probe.id === REPLACEABLE) {
    return finding("info", `features.${probe.id}`, {
      ...text,
      breaks: "rules do not end with the process by themselves: a watchdog child removes them instead",
    });
  }
  const isMissed = isNeeded && candidates.includes(probe.backend);
  const isFatal = isMissed && usable.length === 0;
  return finding(isFatal ? "error" : "info", `features.${probe.id}`, {
    ...text,
    breaks: isMissed ? `these rules cannot be managed by ${probe.backend}` : "",
  });
}

const PACKAGES = {
  nft: "nftables",
  iptables: "iptables",
  "iptables-legacy": "iptables",
  all: "iproute2",
} as const;

/** A module is of no use to a tool that is not there. */
function mendOf({ backend, mend }: Probe, said: string): string {
  if (/not installed|: not found/.test(said)) return `apt-get install ${PACKAGES[backend]}`;
  return said.includes(NO_CGROUP) ? "mount -t cgroup2 none /sys/fs/cgroup" : mend;
}

function noScratch(): Finding {
  return finding("warning", "features.scratch", {
    found: "a network namespace to try things in cannot be made here",
    breaks: "nothing is known of what the kernel and the tools can do",
    mend: "sysctl -w user.max_net_namespaces=15000 user.max_user_namespaces=15000",
  });
}

const LONGEST = 160;

function shorten(text: string): string {
  const line = text.replace(/\s+/g, " ");
  return line.length > LONGEST ? `${line.slice(0, LONGEST)}…` : line;
}
