/**
 * What a backend is told about the rules' life when it is made, and what it tells of rules that it finds.
 *
 * @module
 */
import type { Hold } from "./backend.ts";
import type { Exec } from "./exec.ts";
import type { OldSysctl } from "./sysctls.ts";

/** For how long, and in whose name, a backend puts rules into the kernel. */
export interface BackendOptions {
  readonly exec: Exec;
  /** Name of the nft table, and beginning of the names of iptables chains and of ipsets. */
  readonly tableName: string;
  readonly hold: Hold;
  /** The process that the rules belong to, from living_process.ts; null: they are to outlive every process. */
  readonly by: string | null;
  /** Settings that whoever removes the rules has to put back; noted in their state. */
  readonly sysctls: readonly OldSysctl[];
  /** Shell command that takes our routes away: run by the holder of an owned table when that has gone. */
  readonly afterwards: string;
}

/** Rules of ours in the kernel, of any version, under any name, found without configuration. */
export interface FoundRules {
  /** `table inet pellucid`, `iptables chains pellucid_*`: as people know it. */
  readonly what: string;
  /** As {@linkcode BackendOptions} has it. */
  readonly tableName: string;
  /** A living process owns them, or is the one that they are said to belong to. */
  readonly isInUse: boolean;
  /** Said to belong to no process: `rules apply` left them. */
  readonly isKept: boolean;
  /** They drop what they would intercept while no proxy is there, and are to. */
  readonly isClosed: boolean;
  /** False: sets alone, which no rule need ask for. */
  readonly hasRules: boolean;
  /** As noted in their state. */
  readonly sysctls: readonly OldSysctl[];
  /** Takes them away. @returns what the tool said against it, if anything. */
  remove(): Promise<string | undefined>;
}
