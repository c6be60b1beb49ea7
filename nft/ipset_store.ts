/**
 * The ipsets of one table name in the kernel: filled before the rules that ask for them are loaded, destroyed after
 * the rules that asked are gone.
 *
 * @module
 */
import { COMMAND_MISSING, type Exec } from "./exec.ts";
import type { AddressSet } from "./plan.ts";
import { fillingName, ipsetName, isOwnIpset, parseIpsetCounts, renderIpset } from "./render_ipset.ts";
import { RuleApplyError } from "./rule_apply_error.ts";

/** A long list is read in one go: 100,000 prefixes take about a second on a slow machine. */
const RESTORE_TIMEOUT_MS = 60_000;
/** The kernel lets go of an nft rule's set a moment after the rule is gone (nf_tables_trans_destroy_work). */
const DESTROY_ATTEMPTS = 20;
const DESTROY_ATTEMPT_MS = 50;

/** Reads and changes a host's ipsets. */
export class IpsetStore {
  readonly #exec: Exec;
  readonly #tableName: string;

  constructor(exec: Exec, tableName: string) {
    this.#exec = exec;
    this.#tableName = tableName;
  }

  /** Whether the program is there. */
  async isInstalled(): Promise<boolean> {
    return (await this.#exec.run(["ipset", "--version"])).code !== COMMAND_MISSING;
  }

  /** Our sets and their numbers of elements; none where the program, or the kernel's part of it, is missing. */
  async counts(): Promise<Map<string, number>> {
    const result = await this.#exec.run(["ipset", "list", "-t"]);
    if (result.code !== 0) return new Map();
    const counts = parseIpsetCounts(result.stdout);
    return new Map([...counts].filter(([name]) => isOwnIpset(this.#tableName, name)));
  }

  /**
   * Makes those of `sets` that are not there in full.
   *
   * @returns the names of those that were not there before.
   * @throws {RuleApplyError} of stage apply.
   */
  async fill(sets: readonly AddressSet[]): Promise<string[]> {
    if (sets.length === 0) return [];
    const counts = await this.counts();
    const made: string[] = [];
    for (const set of sets) {
      const name = ipsetName(this.#tableName, set.name);
      if (counts.get(name) === set.prefixes.length) continue;
      if (counts.has(name)) await this.#refill(set, name, counts);
      else {
        made.push(name);
        await this.#restore(renderIpset(set, name), () => this.destroy(made));
      }
    }
    return made;
  }

  /** Destroys our sets whose names are not in `keep`. @returns what was said against it. */
  async destroyOthers(keep: readonly string[]): Promise<string[]> {
    const counts = await this.counts();
    return await this.destroy([...counts.keys()].filter((name) => !keep.includes(name)));
  }

  /** @returns what was said against it. */
  async destroy(names: readonly string[]): Promise<string[]> {
    const said: string[] = [];
    for (const name of names) {
      for (let attempt = 1;; attempt++) {
        const result = await this.#exec.run(["ipset", "destroy", name]);
        if (result.code === 0) break;
        if (attempt === DESTROY_ATTEMPTS) {
          said.push(`ipset destroy ${name}: ${result.stderr.trim()}`);
          break;
        }
        await new Promise((resolve) => setTimeout(resolve, DESTROY_ATTEMPT_MS));
      }
    }
    return said;
  }

  /** Somebody has changed a set that rules may be asking for: one beside it takes its place at once. */
  async #refill(set: AddressSet, name: string, counts: ReadonlyMap<string, number>): Promise<void> {
    const filling = fillingName(this.#tableName);
    // Left behind by a process that was killed.
    if (counts.has(filling)) await this.destroy([filling]);
    const text = `${renderIpset(set, filling)}swap ${filling} ${name}\ndestroy ${filling}\n`;
    await this.#restore(text, () => this.destroy([filling]));
  }

  async #restore(text: string, undo: () => Promise<unknown>): Promise<void> {
    const result = await this.#exec.run(["ipset", "restore"], { stdin: text, timeoutMs: RESTORE_TIMEOUT_MS });
    if (result.code === 0) return;
    await undo();
    throw new RuleApplyError("apply", "ipset restore", result.stderr);
  }
}
