/**
 * What evaluating a plan for one packet comes to, as plain data: the verdict, and each step on the way to it.
 *
 * @module
 */
import type { BaseChain, Verdict } from "./plan.ts";

/** A point of a packet's way where chains are asked. */
export type Hook = BaseChain["hook"];

/** What becomes of a packet. */
export interface Evaluation {
  /** `pass`: as if we were not there. `taken`: by the listener on one of these ports; by a socket: none is named. */
  readonly verdict: "pass" | "drop" | { readonly taken: readonly number[] };
  /** How it was taken; null: it was not. */
  readonly how: "tproxy" | "redirect" | "socket" | null;
  /** The rule that settled it; null: none did. */
  readonly decidedBy: RuleName | null;
  /** What happened on its way, in order. */
  readonly trail: readonly Step[];
  /** The packet's mark in the end. */
  readonly mark: number;
  /** Its flow's; null: it has none. */
  readonly flowMark: number | null;
  /** Conntrack zone that a rule put it into; null: none did. */
  readonly zone: number | null;
  /** Whether a rule kept it from conntrack. */
  readonly untracked: boolean;
}

/** A rule of the plan. */
export interface RuleName {
  readonly chain: string;
  readonly rule: string;
}

/** One thing that happened to a packet. */
export type Step =
  /** A rule whose matches all hold. */
  | RuleStep
  /** A base chain is not asked, because it is for other interfaces. */
  | { readonly kind: "outside"; readonly hook: Hook; readonly chain: string; readonly interface: string }
  /** A base chain and those it led to have no rule for it. */
  | { readonly kind: "undecided"; readonly hook: Hook; readonly chain: string }
  /** It leaves by lo, for us or for a program here, and comes in again there. */
  | { readonly kind: "loopback"; readonly why: "marked" | "redirected" | "route" }
  /** Delivered to this host. */
  | { readonly kind: "delivered"; readonly why: "address" | "marked" }
  /** The rules have gone with the process that held them. */
  | { readonly kind: "rulesGone" };

/** A rule met and matched. */
export interface RuleStep extends RuleName {
  readonly kind: "rule";
  readonly hook: Hook;
  readonly why: string;
  readonly verdict: Verdict;
  /** Whether the verdict could be carried out; a `tproxy` without a listener cannot, and the next rule is asked. */
  readonly done: boolean;
  /** Chains that a hash chose among, this one included; the others have the same rule with another port. */
  readonly oneOf: readonly string[];
}
