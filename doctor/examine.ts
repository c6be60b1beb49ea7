/**
 * The whole examination: facts, then every judge.
 *
 * @module
 */
import type { Finding } from "./findings.ts";
import { type HostFacts, readHostFacts } from "./host_facts.ts";
import { type Host, RealHost } from "./host.ts";
import { judgeFeatures } from "./judge_features.ts";
import { judgeFirewalls } from "./judge_firewalls.ts";
import { judgeLimits } from "./judge_limits.ts";
import { judgeLinks } from "./judge_links.ts";
import { judgeNeighbours } from "./judge_neighbours.ts";
import { judgeNumbers } from "./judge_numbers.ts";
import { judgePorts } from "./judge_ports.ts";
import { judgeSysctls } from "./judge_sysctls.ts";
import type { Subject } from "./subject.ts";

const JUDGES: readonly ((facts: HostFacts, subject: Subject) => Finding[])[] = [
  judgeFeatures,
  judgeSysctls,
  judgeLimits,
  judgePorts,
  judgeNumbers,
  judgeNeighbours,
  judgeFirewalls,
  judgeLinks,
];

/** Judges this host for `subject`. Changes nothing of it. */
export async function examine(subject: Subject, host: Host = new RealHost()): Promise<Finding[]> {
  const facts = await readHostFacts(host);
  const findings = JUDGES.flatMap((judge) => judge(facts, subject));
  return facts.unread.length === 0 ? findings : findings.filter((one) => !isUnfounded(one));
}

/** What is fine because nothing was found, which proves nothing where not all could be read. */
const FOUND_NOTHING = [
  "firewalls.input",
  "firewalls.offload",
  "neighbours.ourselves",
  "neighbours.proxies",
  "numbers.marks",
  "numbers.zone",
];

function isUnfounded({ id, severity }: Finding): boolean {
  return severity === "ok" && FOUND_NOTHING.includes(id);
}
