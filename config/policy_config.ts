/**
 * Which flow leaves by which upstream, as the user says it.
 *
 * @module
 */
import type { PortRange } from "../net/mod.ts";
import type { Account } from "./selector_config.ts";

/**
 * One rule. It is about a flow that every filter names; an empty filter names every flow. Filters that ask what
 * cannot be known of a flow (the interface of this host's own traffic, the user of a forwarded one) do not name it.
 */
export interface PolicyRuleConfig {
  /** undefined: both. */
  readonly network: "tcp" | "udp" | undefined;
  /** Destination prefixes or addresses. */
  readonly destinations: readonly string[];
  /** Paths of files of one prefix or address a line, added to `destinations`. */
  readonly destinationFiles: readonly string[];
  /** Destination ports. */
  readonly destinationPorts: readonly PortRange[];
  /** Source prefixes or addresses. */
  readonly sources: readonly string[];
  /** Paths of such files, added to `sources`. */
  readonly sourceFiles: readonly string[];
  /** Source ports. */
  readonly sourcePorts: readonly PortRange[];
  /** Incoming interfaces, by name or pattern. */
  readonly interfaces: readonly string[];
  /** Users that own the sending socket; own traffic only. */
  readonly uids: readonly Account[];
  /** Codepoints, 0 to 63. */
  readonly dscp: readonly number[];
  /** Name of an upstream or a group. */
  readonly to: string;
}

/** The filters of a rule that is about every flow. */
export const NO_RULE_FILTERS: Omit<PolicyRuleConfig, "to"> = {
  network: undefined,
  destinations: [],
  destinationFiles: [],
  destinationPorts: [],
  sources: [],
  sourceFiles: [],
  sourcePorts: [],
  interfaces: [],
  uids: [],
  dscp: [],
};

/** What decides for a new flow: the first rule that is about it, or what holds for the others. */
export interface PolicyConfig {
  /** In the order in which they are asked. */
  readonly rules: readonly PolicyRuleConfig[];
  /** Name of an upstream or a group, for flows that no rule is about. */
  readonly otherwise: string;
  /** Whether direct rules that the kernel can decide are put into its rules, so that such traffic never comes here. */
  readonly pushDown: boolean;
  /**
   * Absolute path, or URL, of a module whose default export is asked before the rules, see docs/embedding.md; absent:
   * none. With it nothing is put into the kernel's rules: it decides about every flow.
   */
  readonly module?: string;
  /** Its answer is not used when it took longer; absent: {@linkcode DEFAULT_POLICY_BUDGET_MS}. */
  readonly budgetMs?: number;
}

/** So long a policy module may take for a flow unless something else is said; it needs some millionths of a second. */
export const DEFAULT_POLICY_BUDGET_MS = 5;

/** Everything leaves from here. */
export const DIRECT_POLICY: PolicyConfig = { rules: [], otherwise: "direct", pushDown: true };
