/**
 * Whether the policy makes sense: each rule's values, where rules lead, and that no datagram is led where none can go.
 *
 * Paths are the keys of the configuration file; rules are counted from 1.
 *
 * @module
 */
import { ACCOUNTS, checkValues, INTERFACES, PORTS, PREFIXES } from "./check_filter.ts";
import { unknownRoute } from "./check_upstreams.ts";
import { checkWhole } from "./check_value.ts";
import type { ConfigIssue } from "./config_error.ts";
import { DEFAULT_POLICY_BUDGET_MS, type PolicyConfig, type PolicyRuleConfig } from "./policy_config.ts";
import { namesTraffic, type RunConfig } from "./run_config.ts";
import { describeWithoutUdp, type Routes } from "./upstream_kinds.ts";

/** A worker whose module has not returned by ten times as much is given up. */
const LONGEST_BUDGET_MS = 100;

/** Every issue. `routes` are the configuration's upstreams and groups. */
export function* checkPolicy(config: RunConfig, routes: Routes): Generator<ConfigIssue> {
  const { rules, otherwise } = config.policy;
  for (const [i, rule] of rules.entries()) yield* checkRule(`rule[${i + 1}]`, rule, config, routes);
  if (routes.get(otherwise) === undefined) yield unknownRoute("policy.default", otherwise, routes);
  if (config.udp !== "off") yield* checkDatagrams(config, routes);
  yield* checkModule(config.policy);
}

function* checkModule({ module, budgetMs = DEFAULT_POLICY_BUDGET_MS }: PolicyConfig): Generator<ConfigIssue> {
  if (module !== undefined && !module.startsWith("/") && !URL.canParse(module)) {
    yield { path: "--policy", found: JSON.stringify(module), wanted: "an absolute path, or a URL" };
  }
  if (!(budgetMs > 0 && budgetMs <= LONGEST_BUDGET_MS)) {
    yield {
      path: "policy.budget",
      found: `${budgetMs} ms`,
      wanted: `more than 0 and at most ${LONGEST_BUDGET_MS} ms`,
      hint: "nothing else is carried while a module thinks",
    };
  }
}

function* checkRule(
  path: string,
  rule: PolicyRuleConfig,
  config: RunConfig,
  routes: Routes,
): Generator<ConfigIssue> {
  yield* checkValues(`${path}.destination`, rule.destinations, PREFIXES);
  yield* checkFiles(`${path}.destination-file`, rule.destinationFiles);
  yield* checkValues(`${path}.destination-port`, rule.destinationPorts, PORTS);
  yield* checkValues(`${path}.source`, rule.sources, PREFIXES);
  yield* checkFiles(`${path}.source-file`, rule.sourceFiles);
  yield* checkValues(`${path}.source-port`, rule.sourcePorts, PORTS);
  yield* checkValues(`${path}.interface`, rule.interfaces, INTERFACES);
  yield* checkValues(`${path}.uid`, rule.uids, ACCOUNTS);
  for (const dscp of rule.dscp) yield* checkWhole(`${path}.dscp`, dscp, 0, 63);
  if (rule.uids.length > 0 && namesTraffic(config) && !config.local && config.sidecar === null) {
    yield {
      path: `${path}.uid`,
      found: "set, and neither --local nor --sidecar",
      wanted: "--local, or without it",
      hint: "whose a forwarded flow is cannot be known",
    };
  }
  if (routes.get(rule.to) === undefined) yield unknownRoute(`${path}.use`, rule.to, routes);
}

function* checkFiles(path: string, files: readonly string[]): Generator<ConfigIssue> {
  if (files.some((file) => file === "")) yield { path, found: '""', wanted: "a path" };
}

/** Datagrams that nobody could carry would be a surprise on the first day; so they have to be provided for. */
function* checkDatagrams({ policy }: RunConfig, routes: Routes): Generator<ConfigIssue> {
  for (const [i, { network, to }] of policy.rules.entries()) {
    const path = `rule[${i + 1}]`;
    const upstream = network === "tcp" ? undefined : routes.withoutUdp(to);
    if (upstream !== undefined) {
      yield {
        path: `${path}.use`,
        found: `${describeRoute(to, upstream.name)} (${describeWithoutUdp(upstream)})`,
        wanted: network === "udp" ? "an upstream that carries UDP" : 'network = "tcp" in this rule',
        ...(network === "udp" ? {} : { hint: "a rule of its own then says what becomes of UDP" }),
      };
    }
    if (network !== "tcp" && isAboutAll(policy.rules[i]!)) return;
  }
  const upstream = routes.withoutUdp(policy.otherwise);
  if (upstream === undefined) return;
  yield {
    path: "policy.default",
    found: `${describeRoute(policy.otherwise, upstream.name)} (${describeWithoutUdp(upstream)})`,
    wanted: "--udp off, or a last rule for UDP",
    hint: 'for example [[rule]] network = "udp" use = "block"; --udp off lets UDP pass by',
  };
}

function describeRoute(name: string, member: string): string {
  return name === member ? JSON.stringify(name) : `${JSON.stringify(name)} with ${JSON.stringify(member)}`;
}

/** Whether no flow of its network gets past the rule. */
function isAboutAll(rule: PolicyRuleConfig): boolean {
  const { destinations, destinationFiles, destinationPorts, sources, sourceFiles, sourcePorts } = rule;
  return [
    destinations,
    destinationFiles,
    destinationPorts,
    sources,
    sourceFiles,
    sourcePorts,
    rule.interfaces,
    rule.uids,
    rule.dscp,
  ].every((filter) => filter.length === 0);
}
