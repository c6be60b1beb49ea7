/**
 * What the policy says of one flow, and what of it the kernel knows. What the rules name is resolved as for a run, but
 * no server: where a flow goes does not depend on it.
 *
 * @module
 */
import { ConfigError, type ConfigIssue, type RunConfig } from "../config/mod.ts";
import { type AskedFlow, explainPolicy, type PolicyExplanation } from "../policy/mod.ts";
import { type HostLookups, THIS_HOST } from "./host_lookups.ts";
import { type PushedRule, resolvePushDown } from "./push_down.ts";
import { resolvePolicyRules } from "./resolve_policy.ts";

/** A flow as people describe it. */
export interface DescribedFlow extends Omit<AskedFlow, "interface"> {
  /** Name of the interface that it comes in by; undefined: it is this host's own. */
  readonly interface: string | undefined;
}

/** What the rules say of a flow. */
export interface PolicyChoice extends Omit<PolicyExplanation, "route"> {
  /** Name of the upstream or group by which it leaves. */
  readonly to: string;
}

/**
 * Which rule of `config`'s policy decides about `flow`, and why those before do not.
 *
 * @throws {ConfigError} when something that the rules name cannot be resolved.
 */
export async function explainChoice(
  config: RunConfig,
  flow: DescribedFlow,
  host: HostLookups = THIS_HOST,
): Promise<PolicyChoice> {
  const { rules, otherwise } = config.policy;
  const routes = [...new Set(rules.map(({ to }) => to))];
  const issues: ConfigIssue[] = [];
  const resolved = await resolvePolicyRules(rules, (name) => routes.indexOf(name), host, issues);
  if (issues.length > 0) throw new ConfigError(issues);
  const interfaces = rules.some((rule) => rule.interfaces.length > 0) ? await host.interfaces() : [];
  const { route, ...said } = explainPolicy(
    resolved,
    { ...flow, interface: interfaces.find(({ name }) => name === flow.interface)?.index },
    (wanted) => interfaces.find(({ index }) => index === wanted)?.name ?? `number ${wanted}`,
  );
  return { ...said, to: route === undefined ? otherwise : routes[route]! };
}

/**
 * Which rules of `config`'s policy the kernel knows, in their order, and why the others not.
 *
 * @throws {ConfigError} when something that the rules name cannot be resolved.
 */
export async function explainPushDown(
  config: RunConfig,
  host: HostLookups = THIS_HOST,
): Promise<readonly PushedRule[]> {
  const issues: ConfigIssue[] = [];
  const { rules } = await resolvePushDown(config, issues, host);
  if (issues.length > 0) throw new ConfigError(issues);
  return rules;
}
