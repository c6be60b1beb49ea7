/**
 * Judges a plan before anything touches the host: values in range, and the invariants that keep a wrong plan
 * from cutting a host off. Pure; every message names the option it is about.
 *
 * @module
 */
import type { PortRange } from "../net/port_range.ts";
import type { BaseChain, Chain, InterceptIntent, Plan, Rule } from "./plan.ts";

/** What is wrong with a plan. */
export interface PlanIssue {
  /** The option to change, as the user knows it. */
  readonly option: string;
  /** What was found and what is wanted. */
  readonly message: string;
}

/** The kernel stores a rule's comment in 128 bytes, its end included (NFTNL_UDATA_COMMENT_MAXLEN). */
export const COMMENT_BYTES = 127;
/** IFNAMSIZ without the terminating NUL. */
const INTERFACE_NAME_BYTES = 15;
/** As the configuration has it; each has a port and a chain. */
const MAX_WORKERS = 256;
/** NFT_NAME_MAXLEN is 256; a short limit leaves room in messages and is never met by accident. */
const TABLE_NAME = /^[A-Za-z_][A-Za-z0-9_-]{0,63}$/;

/** All that is wrong with `plan`; empty when it may be applied. */
export function checkPlan(plan: Plan): PlanIssue[] {
  const issues = checkIntent(plan.intent);
  // What is made of wrong values would only say the same again, less clearly.
  return issues.length > 0 ? issues : checkStructure(plan);
}

function checkIntent(intent: InterceptIntent): PlanIssue[] {
  const issues: PlanIssue[] = [];
  const add = (option: string, message: string) => issues.push({ option, message: `${option}: ${message}` });
  const range = (option: string, value: number, min: number, max: number) => {
    if (!Number.isInteger(value) || value < min || value > max) {
      add(option, `${value} found, a whole number from ${min} to ${max} wanted`);
    }
  };
  if (intent.tcp !== "off" || intent.udp !== "off") {
    if (intent.from.length === 0 && !intent.local) {
      add("--from", "nothing to intercept: --from IFACE or --local wanted");
    }
    range("--port", intent.port, 1, 65535);
  }
  if (intent.udp !== "off") {
    range("--workers", intent.udpWorkers, 1, MAX_WORKERS);
    const last = intent.port + intent.udpWorkers - 1;
    if (last > 65535 && intent.port <= 65535) {
      add("--port", `${intent.port} found: ${intent.udpWorkers} workers take the ports up to ${last}`);
    }
  }
  checkPorts(intent.udpPorts, add);
  checkInterfaces("--from", intent.from, add);
  checkInterfaces("otherInterfaces", intent.otherInterfaces, add);
  if (intent.from.includes("lo")) {
    add("--from", "lo found: this host's own traffic is intercepted with --local");
  }
  checkMarks(intent, add);
  // 0 is "no table", 253 to 255 are default, main and local: a local default route there takes the host offline.
  range("routeTable", intent.routeTable, 1, 0xffffffff);
  if (intent.routeTable >= 253 && intent.routeTable <= 255) {
    add("routeTable", `${intent.routeTable} found: 253, 254 and 255 are the host's own tables`);
  }
  // Up to 4 are the kernel's and `ip`'s own (RTPROT_STATIC): we delete by protocol, so it must be ours alone.
  range("routeProtocol", intent.routeProtocol, 5, 255);
  // 0 would come before the local table, 32766 is main: after that our rule is never asked.
  range("rulePreference", intent.rulePreference, 1, 32765);
  if (!TABLE_NAME.test(intent.tableName)) {
    add("tableName", `"${intent.tableName}" found, a letter and up to 63 letters, digits, _ or - wanted`);
  }
  return issues;
}

type Add = (option: string, message: string) => void;

function checkInterfaces(option: string, names: readonly string[], add: Add): void {
  for (const [i, name] of names.entries()) {
    // No space, slash or colon (dev_valid_name in the kernel); no quote, and no asterisk, which nft expands.
    const valid = /^[^\s/:"*\\]+$/.test(name) && name !== "." && name !== "..";
    if (!valid || new TextEncoder().encode(name).length > INTERFACE_NAME_BYTES) {
      add(option, `"${name}" is not an interface name`);
    } else if (names.indexOf(name) !== i) add(option, `${name} is named twice`);
  }
}

/** nft refuses a set in which ranges overlap. */
function checkPorts(ranges: readonly PortRange[], add: Add): void {
  const isPort = (value: number) => Number.isInteger(value) && value >= 1 && value <= 65535;
  for (const [i, { first, last }] of ranges.entries()) {
    if (!isPort(first) || !isPort(last) || first > last) {
      add("--udp-ports", `${first}-${last} found, ports from 1 to 65535 in ascending order wanted`);
    } else if (ranges.slice(0, i).some((other) => first <= other.last && other.first <= last)) {
      add("--udp-ports", `${first}-${last} overlaps another range`);
    }
  }
}

function checkMarks({ marks }: InterceptIntent, add: Add): void {
  const { mask, dontFragment } = marks;
  for (const [name, value] of Object.entries(marks)) {
    if (!Number.isInteger(value) || value < 1 || value > 0xffffffff) {
      add(`marks.${name}`, `${value} found, a 32-bit number other than 0 wanted`);
    }
  }
  // >>> 0: JavaScript's bit operations give signed numbers.
  const used = new Map<number, string>();
  for (const name of ["intercept", "bypass", "reply"] as const) {
    const value = marks[name];
    if ((value & mask) >>> 0 !== value) {
      add(`marks.${name}`, `${hex(value)} has bits outside ${hex(mask)}`);
    }
    const other = used.get(value);
    if (other !== undefined) {
      add(`marks.${name}`, `${hex(value)} found, another value than marks.${other} wanted`);
    }
    used.set(value, name);
  }
  if ((dontFragment & mask) !== 0 || (dontFragment & (dontFragment - 1)) !== 0) {
    add("marks.dontFragment", `${hex(dontFragment)} found, one bit outside ${hex(mask)} wanted`);
  }
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

function checkStructure(plan: Plan): PlanIssue[] {
  const issues: PlanIssue[] = plan.chains.flatMap((chain) => checkTargets(plan, chain));
  // What follows goes where the rules lead.
  if (issues.length > 0) return issues;
  const names = new Set<string>();
  for (const chain of plan.chains) {
    if (names.has(chain.name)) issues.push(broken(chain.name, "two chains of this name"));
    names.add(chain.name);
    const ids = new Set<string>();
    for (const rule of chain.rules) {
      if (ids.has(rule.id)) issues.push(broken(`${chain.name}/${rule.id}`, "two rules of this id"));
      ids.add(rule.id);
      issues.push(...checkComment(chain, rule));
    }
    if (chain.hook !== "none") issues.push(...checkLoop(plan, chain), ...checkRouted(plan, chain));
  }
  return [...issues, ...checkUntracked(plan)];
}

function broken(where: string, what: string): PlanIssue {
  return { option: where, message: `${where}: ${what}` };
}

/** What a renderer writes beside the rule. */
export function ruleComment(rule: Rule): string {
  return `${rule.id}: ${rule.why}`;
}

function checkComment(chain: Chain, rule: Rule): PlanIssue[] {
  const where = `${chain.name}/${rule.id}`;
  const comment = ruleComment(rule);
  // nft has no escape for a quote inside a string.
  if (/["\\\n]/.test(comment)) return [broken(where, "a quote, backslash or line break in its reason")];
  const bytes = new TextEncoder().encode(comment).length;
  return bytes > COMMENT_BYTES
    ? [broken(where, `reason of ${bytes} bytes, at most ${COMMENT_BYTES} wanted`)]
    : [];
}

/**
 * An output chain that takes traffic must first let our own sockets' packets go, or we would proxy ourselves.
 * Where it takes datagrams, our answers to clients as well.
 */
function checkLoop(plan: Plan, chain: BaseChain): PlanIssue[] {
  if (chain.hook !== "output") return [];
  const { bypass, reply } = plan.intent.marks;
  const spared = new Set<number>();
  for (const rule of chain.rules) {
    if (rule.verdict.kind === "pass") {
      const [match, ...others] = rule.matches;
      if (match?.kind === "mark" && match.of === "packet" && !match.negate && others.length === 0) {
        spared.add(match.value);
      }
    }
    const isTcp = rule.matches.some((match) =>
      match.kind === "tcpFirst" || (match.kind === "protocol" && match.protocol === "tcp")
    );
    const wanted = isTcp ? [bypass] : [bypass, reply];
    if (takes(plan, rule) && wanted.some((mark) => !spared.has(mark))) {
      return [broken(chain.name, "takes our own sockets' packets: a rule for their mark must come first")];
    }
  }
  return [];
}

function takes(plan: Plan, rule: Rule): boolean {
  switch (rule.verdict.kind) {
    case "pass":
    case "zone":
    case "untrack":
      return false;
    case "tproxy":
    case "tproxyDatagram":
    case "redirect":
    case "intercept":
      return true;
    case "goto":
    case "spread":
      return innerRules(plan, rule).some((inner) => takes(plan, inner));
  }
}

/** The rules of the chains to which `rule` sends packets. */
function innerRules(plan: Plan, { verdict }: Rule): Rule[] {
  const names = targets(verdict);
  return plan.chains.filter(({ name }) => names.includes(name)).flatMap(({ rules }) => rules);
}

function targets(verdict: Rule["verdict"]): readonly string[] {
  if (verdict.kind === "goto") return [verdict.chain];
  return verdict.kind === "spread" ? verdict.chains : [];
}

/** Chains lead to later chains only, so a packet's way ends. */
function checkTargets(plan: Plan, chain: Chain): PlanIssue[] {
  const later = plan.chains.slice(plan.chains.indexOf(chain) + 1);
  return chain.rules.flatMap(({ id, verdict }) =>
    targets(verdict)
      .filter((target) => !later.some(({ name, hook }) => name === target && hook === "none"))
      .map((target) => broken(`${chain.name}/${id}`, `no inner chain ${target} comes after it`))
  );
}

/** A tracked answer of ours would be a flow's first packet, and the client's next datagram would pass us by. */
function checkUntracked({ intent, chains }: Plan): PlanIssue[] {
  if (intent.udp === "off" || chains.length === 0) return [];
  const isUntracked = chains.some((chain) =>
    chain.hook === "output" && chain.priority === "raw" &&
    chain.rules.some(({ during, matches, verdict }) =>
      during === "always" && verdict.kind === "untrack" &&
      matches.some((match) => match.kind === "mark" && match.value === intent.marks.reply)
    )
  );
  return isUntracked ? [] : [broken("marks.reply", "no rule keeps our answers from conntrack")];
}

/** A marked packet without a route to lo would be forwarded although a socket of ours owns it, and be dropped. */
function checkRouted(plan: Plan, chain: BaseChain): PlanIssue[] {
  const marks = chain.type !== "nat" && chain.rules.some((rule) => takes(plan, rule));
  if (!marks) return [];
  const interfaces = chain.interfaces === "any" ? ["lo"] : chain.interfaces;
  return interfaces
    .filter((name) => ([4, 6] as const).some((family) => !isRouted(plan, family, name)))
    .map((name) => broken(chain.name, `packets of ${name} are marked but not routed to lo`));
}

function isRouted(plan: Plan, family: 4 | 6, incoming: string): boolean {
  const rule = plan.ipRules.find((rule) => rule.family === family && rule.incoming === incoming);
  return rule !== undefined &&
    plan.routes.some((route) => route.family === family && route.table === rule.table);
}
