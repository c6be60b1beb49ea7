/**
 * Tells when something on the host may have changed what a plan put there, and who did it where the kernel says so.
 *
 * Two children tell: `nft monitor`, which iptables-nft's changes reach too, and `ip monitor`. Legacy iptables
 * announces nothing. A child that ends, or that cannot be started, is started again after a while; until then, and
 * beside it, whoever listens has to look from time to time.
 *
 * @module
 */
import type { Exec, ExecWatch } from "./exec.ts";

/** Something has changed. */
export interface HostChange {
  /** `rules`: somebody's nft rules; `routes`: routes or routing rules; `links`: interfaces or their addresses. */
  readonly what: "rules" | "routes" | "links";
  /** `process 4711 (nft)`, where the kernel tells and it is none of ours. */
  readonly by?: string;
}

/** How long after its end a child is started again. */
const RESTART_MS = 1_000;

const RULES_MONITOR = ["nft", "monitor"];
const ROUTES_MONITOR = ["ip", "-N", "monitor", "label", "rule", "route", "link", "address"];

/** What to listen for. */
export interface HostChangesOptions {
  readonly exec: Exec;
  /** Whether changes of nft rules are of interest. */
  readonly rules: boolean;
  /** The routing table whose routes are. */
  readonly table: number;
  /** Called for each change; there may be thousands a second. */
  readonly onChange: (change: HostChange) => void;
}

/** What a line of either child says; undefined: nothing of interest. `table` is our routing table. */
export function parseChange(line: string, table: number): HostChange | undefined {
  const generation = /^# new generation \d+(?: by (process \d+ \(.*\)))?/.exec(line);
  if (generation !== null) {
    const by = generation[1];
    return { what: "rules", ...(by === undefined ? {} : { by }) };
  }
  if (/^\[(?:LINK|ADDR)\]/.test(line)) return { what: "links" };
  // A host with many routes has many changes; any routing rule can stand in the way of ours.
  if (line.startsWith("[RULE]")) return { what: "routes" };
  if (line.startsWith("[ROUTE]") && / table (\d+)/.exec(line)?.[1] === `${table}`) return { what: "routes" };
  return undefined;
}

/** Listens until it is closed. */
export class HostChanges {
  readonly #exec: Exec;
  readonly #onLine: (line: string) => void;
  readonly #watches = new Map<readonly string[], ExecWatch>();
  readonly #restarts = new Set<ReturnType<typeof setTimeout>>();
  #isClosed = false;

  constructor({ exec, rules, table, onChange }: HostChangesOptions) {
    this.#exec = exec;
    this.#onLine = (line) => {
      const change = parseChange(line, table);
      if (change !== undefined && !this.#isClosed) {
        onChange(this.#isOurs(change) ? { what: change.what } : change);
      }
    };
    for (const argv of rules ? [RULES_MONITOR, ROUTES_MONITOR] : [ROUTES_MONITOR]) this.#start(argv);
  }

  /** Ends the children. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const timer of this.#restarts) clearTimeout(timer);
    await Promise.all([...this.#watches.values()].map((watch) => watch.close()));
  }

  #isOurs({ by }: HostChange): boolean {
    const pid = by === undefined ? undefined : /^process (\d+)/.exec(by)?.[1];
    return pid !== undefined && this.#exec.hasStarted?.(Number(pid)) === true;
  }

  #start(argv: readonly string[]): void {
    let watch: ExecWatch;
    try {
      watch = this.#exec.watch(argv, this.#onLine);
    } catch {
      // There may be no file descriptors left for the moment.
      this.#startLater(argv);
      return;
    }
    this.#watches.set(argv, watch);
    watch.ended.then(() => this.#startLater(argv));
  }

  #startLater(argv: readonly string[]): void {
    if (this.#isClosed) return;
    const timer = setTimeout(() => {
      this.#restarts.delete(timer);
      this.#start(argv);
    }, RESTART_MS);
    this.#restarts.add(timer);
  }
}
