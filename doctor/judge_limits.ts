/**
 * Whether there is room for the connections and sessions that we carry unasked: descriptors, and entries of conntrack.
 *
 * @module
 */
import { MAX_CONNECTIONS_UNASKED, MAX_SESSIONS_UNASKED } from "../config/mod.ts";
import { type FdDemand, parseHardFdLimit, shareFds } from "../control/fd_budget.ts";
import { type Finding, finding, fine } from "./findings.ts";
import type { HostFacts } from "./host_facts.ts";
import type { Subject } from "./subject.ts";

/** Judges them. */
export function judgeLimits(facts: HostFacts, subject: Subject): Finding[] {
  return [
    ...judgeDescriptors(facts, subject),
    ...judgeConntrack(facts, subject),
  ];
}

/** The least limit of descriptors under which nothing has to be cut. */
export function neededFds(demand: FdDemand): number {
  let [low, high] = [0, 1 << 22];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isEnough(middle, demand)) high = middle;
    else low = middle + 1;
  }
  return low;
}

function isEnough(limit: number, demand: FdDemand): boolean {
  const { maxConnections, maxSessions } = shareFds(limit, demand);
  // Nothing is shared out to a protocol that is off.
  return (maxConnections === 0 || maxConnections >= MAX_CONNECTIONS_UNASKED) &&
    (maxSessions === 0 || maxSessions >= MAX_SESSIONS_UNASKED);
}

function judgeDescriptors(facts: HostFacts, subject: Subject): Finding[] {
  const demand = subject.config;
  const needed = neededFds(demand);
  const hard = parseHardFdLimit(facts.limits);
  const read = (key: string) => Number(facts.sysctls.get(key)?.split(/\s+/)[0] ?? Infinity);
  const budget = shareFds(hard, demand);
  const carried = [
    { most: budget.maxConnections, unasked: MAX_CONNECTIONS_UNASKED, what: "connections" },
    { most: budget.maxSessions, unasked: MAX_SESSIONS_UNASKED, what: "UDP sessions" },
  ].filter(({ most }) => most > 0);
  const findings: Finding[] = [
    hard >= needed
      ? fine("limits.nofile", `the hard limit of open files is ${hard}, ${needed} wanted`)
      : finding("warning", "limits.nofile", {
        found: `the hard limit of open files is ${hard} here; ${needed} wanted`,
        breaks: `the number of flows: this allows ${
          carried.map(({ most, what }) => `${most} ${what}`).join(" and ")
        }, unasked it would be ${
          carried.map(({ unasked }) => unasked).join(" and ")
        } (a systemd unit sets its own, LimitNOFILE=)`,
        mend: `prlimit --pid $$ --nofile=${roundUp(needed)}:${roundUp(needed)}`,
      }),
  ];
  if (read("fs/nr_open") < needed) {
    findings.push(finding("warning", "limits.nr-open", {
      found: `fs.nr_open is ${read("fs/nr_open")}`,
      breaks: `the limit of open files cannot be raised to the ${needed} wanted`,
      mend: `sysctl -w fs.nr_open=${roundUp(needed)}`,
    }));
  }
  const free = read("fs/file-max") - (Number.isFinite(read("fs/file-nr")) ? read("fs/file-nr") : 0);
  if (free < needed) {
    findings.push(finding("warning", "limits.file-max", {
      found: `${free} of fs.file-max (${read("fs/file-max")}) are free`,
      breaks: `the whole host runs out of open files before we have the ${needed} wanted`,
      mend: `sysctl -w fs.file-max=${roundUp(read("fs/file-max") + needed)}`,
    }));
  }
  return findings;
}

/** As the unit in deploy/ has it: a power of two is easy to remember. */
function roundUp(count: number): number {
  return 2 ** Math.ceil(Math.log2(count));
}

/** Of `nf_conntrack_max`. */
const FULL = 0.95, NEARLY_FULL = 0.75;
/** Entries of one hash bucket on average; the kernel's own default is one. */
const LONGEST_CHAIN = 8;
/** Each flow has one on either side of us. */
const ENTRIES_PER_FLOW = 2;

function judgeConntrack(facts: HostFacts, { intent }: Subject): Finding[] {
  const read = (name: string) => Number(facts.sysctls.get(`net/netfilter/nf_conntrack_${name}`) ?? NaN);
  const [max, count, buckets] = [read("max"), read("count"), read("buckets")];
  // 0 stands for no limit.
  if (Number.isNaN(max) || max === 0) {
    return [fine("limits.conntrack", "conntrack has no limit, or is not in use yet")];
  }
  const fill = count / max;
  const breaks =
    "new flows: the kernel drops their first packets and says `nf_conntrack: table full` in its log alone";
  const wanted =
    (intent.udp === "off" ? MAX_CONNECTIONS_UNASKED : MAX_CONNECTIONS_UNASKED + MAX_SESSIONS_UNASKED) *
    ENTRIES_PER_FLOW;
  const findings: Finding[] = [];
  if (fill >= NEARLY_FULL) {
    findings.push(finding(fill >= FULL ? "error" : "warning", "limits.conntrack", {
      found: `conntrack has ${count} of ${max} entries (${Math.round(fill * 100)} %)`,
      breaks,
      mend: `sysctl -w net.netfilter.nf_conntrack_max=${roundUp(Math.max(2 * max, wanted))}`,
    }));
  } else if (max < wanted) {
    findings.push(finding("info", "limits.conntrack", {
      found: `nf_conntrack_max is ${max}; all flows that we carry unasked would need ${wanted}`,
      breaks,
      mend: `sysctl -w net.netfilter.nf_conntrack_max=${roundUp(wanted)}`,
    }));
  } else findings.push(fine("limits.conntrack", `conntrack has ${count} of ${max} entries`));
  if (max / buckets > LONGEST_CHAIN) {
    findings.push(finding("warning", "limits.conntrack-buckets", {
      found: `nf_conntrack_buckets is ${buckets}, nf_conntrack_max ${max}`,
      breaks: "speed: a full table has long hash chains, and each packet searches one",
      mend: `sysctl -w net.netfilter.nf_conntrack_buckets=${roundUp(max / 4)}`,
    }));
  }
  return findings;
}
