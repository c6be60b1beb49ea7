/**
 * An {@linkcode Exec} without a host: remembers tables, rules and routes as nft and `ip` would, as far as this
 * folder asks them. The cases in tests/kernel/nft_apply_cases.ts run on it and on the real thing.
 *
 * @module
 */
import type { Exec, ExecResult, ExecSession, ExecWatch, Reply } from "./exec.ts";
import { COMMAND_MISSING } from "./exec.ts";
import { FakeRefusal, type FakeTable, listTable, runScript } from "./fake_script.ts";

/** What the pretended host is like. */
export interface FakeHostOptions {
  /** Interfaces besides lo. */
  readonly interfaces?: readonly string[];
  /** Those of them that have no address. */
  readonly unnumbered?: readonly string[];
  readonly ipv6?: boolean;
  /** Programs that are not installed. */
  readonly missing?: readonly string[];
  /** nft refuses scripts that contain one of these words. */
  readonly lacks?: readonly string[];
  /** Without it every change is refused. */
  readonly privileged?: boolean;
}

/** A rule or route: the words after `rule add` or `route add`. */
interface FakeEntry {
  readonly family: string;
  readonly object: string;
  readonly words: readonly string[];
}

/** Programs that it pretends to have; iptables is not among them. */
const PROGRAMS: readonly string[] = ["nft", "ip", "conntrack", "cat", "sh", "test"];

const OK: ExecResult = { code: 0, stdout: "", stderr: "" };
const NOT_PERMITTED = failure("Error: Could not process rule: Operation not permitted");

function failure(stderr: string): ExecResult {
  return { code: 1, stdout: "", stderr: `${stderr}\n` };
}

/** A host that exists in memory alone. */
export class FakeExec implements Exec {
  readonly #options: FakeHostOptions;
  #tables = new Map<string, FakeTable>();
  readonly #holders = new Map<string, FakeSession>();
  readonly #sysctls = new Map<string, string>();
  #entries: FakeEntry[] = [];
  readonly #sessions: FakeSession[] = [];

  constructor(options: FakeHostOptions = {}) {
    this.#options = options;
  }

  /** Sessions opened so far. */
  get sessions(): readonly FakeSession[] {
    return this.#sessions;
  }

  run(argv: readonly string[], options: { stdin?: string } = {}): Promise<ExecResult> {
    return Promise.resolve(this.#run(argv, options.stdin ?? ""));
  }

  /** A pretended `nft -i`; any other program repeats what it is told. */
  open(argv: readonly string[]): FakeSession {
    const isNft = argv.some((word) => word.includes("nft -i"));
    const session = new FakeSession(
      (line, holder) => isNft ? this.#nftLine(line, holder) : { ...OK, stdout: `${line}\n` },
      (holder) => this.#release(holder),
    );
    this.#sessions.push(session);
    return session;
  }

  /** Nothing ever happens by itself. */
  watch(): ExecWatch {
    const ended = Promise.withResolvers<string>();
    return {
      ended: ended.promise,
      close: () => {
        ended.resolve("exit code 0");
        return Promise.resolve();
      },
    };
  }

  #run(argv: readonly string[], stdin: string): ExecResult {
    const [program = "", ...words] = argv;
    if (!PROGRAMS.includes(program) || this.#options.missing?.includes(program)) {
      return { code: COMMAND_MISSING, stdout: "", stderr: `${program}: not found` };
    }
    if (program === "nft") {
      return this.#nft(words.filter((word) => !["-s", "-t", "-a", "-y"].includes(word)), stdin);
    }
    if (program === "cat") return this.#cat(words[0]!);
    if (program === "sh") return this.#writeSysctl(words);
    if (program === "test") return this.#options.ipv6 === false ? failure("") : OK;
    // It tracks no flows, so there is none to forget.
    if (program === "conntrack") return failure("conntrack v1.4.7: 0 flow entries have been deleted.");
    return this.#ip(words);
  }

  /** The one process that lives there is this one. */
  #cat(path: string): ExecResult {
    if (path === `/proc/${Deno.pid}/stat`) return { ...OK, stdout: Deno.readTextFileSync("/proc/self/stat") };
    if (path.startsWith("/proc/sys/")) return { ...OK, stdout: `${this.#sysctls.get(path) ?? "0"}\n` };
    return failure(`cat: ${path}: No such file or directory`);
  }

  /** `sh -c SCRIPT sh VALUE PATH`, as sysctls.ts writes them. */
  #writeSysctl([, , , value = "", path = ""]: readonly string[]): ExecResult {
    this.#sysctls.set(path, value);
    return OK;
  }

  #nft(words: readonly string[], stdin: string): ExecResult {
    const [verb, object, family, name = ""] = words;
    if (verb === "--version") return { ...OK, stdout: "nftables v1.0.6 (fake)\n" };
    if (verb === "--check") return this.#load(stdin, undefined, true);
    if (verb === "-f") return this.#load(stdin, undefined, false);
    if (verb === "list" && object === "tables") {
      return { ...OK, stdout: [...this.#tables.keys()].map((key) => `table inet ${key}\n`).join("") };
    }
    if (verb === "list" && object === "table") {
      const table = this.#tables.get(name);
      return table === undefined ? failure("Error: No such file") : { ...OK, stdout: listTable(name, table) };
    }
    if (verb === "list" && object === "ruleset") {
      if (this.#options.privileged === false) return NOT_PERMITTED;
      return { ...OK, stdout: [...this.#tables].map(([key, table]) => listTable(key, table)).join("") };
    }
    if (family === "inet") return this.#load(words.join(" "), undefined, false);
    throw new Error(`fake nft: ${words.join(" ")}: not understood`);
  }

  /** It repeats a line that it does not understand. */
  #nftLine(line: string, holder: FakeSession): ExecResult {
    const result = this.#load(line, holder, false);
    return result.code === 0 ? result : { ...result, stderr: `${result.stderr}${line}\n^^^\n` };
  }

  /** One transaction: all of it or nothing. */
  #load(text: string, holder: FakeSession | undefined, checkOnly: boolean): ExecResult {
    if (this.#options.privileged === false) return NOT_PERMITTED;
    const lacking = this.#options.lacks?.find((word) => text.includes(word));
    if (lacking !== undefined) {
      return failure(`Error: Could not process rule: ${lacking}: No such file or directory`);
    }
    const tables = structuredClone(this.#tables);
    try {
      runScript(text, tables, (name) => {
        const isHeld = tables.get(name)?.isOwned === true && this.#holders.has(name);
        if (isHeld && this.#holders.get(name) !== holder) throw new FakeRefusal("Operation not permitted");
      });
    } catch (error) {
      if (error instanceof FakeRefusal) {
        return failure(`Error: Could not process rule: ${error.message}`);
      }
      throw error;
    }
    if (checkOnly) return OK;
    this.#tables = tables;
    for (const [name, { isOwned }] of tables) {
      if (!isOwned || this.#holders.has(name)) continue;
      if (holder !== undefined) this.#holders.set(name, holder);
      // A table whose owner has gone already goes with it.
      else tables.delete(name);
    }
    return OK;
  }

  #release(holder: FakeSession): void {
    for (const [name, other] of this.#holders) {
      if (other !== holder) continue;
      this.#holders.delete(name);
      this.#tables.delete(name);
    }
  }

  #ip(argv: readonly string[]): ExecResult {
    const words = argv.filter((word) => !["-N", "-d", "-j"].includes(word));
    if (words[0] === "-V") return { ...OK, stdout: "ip utility, iproute2-6.1.0 (fake)\n" };
    if (words[0] === "addr") return { ...OK, stdout: JSON.stringify(this.#links()) };
    const [family = "", object = "", verb = "", ...rest] = words;
    if (verb === "list") {
      const entries = this.#entries.filter((entry) => entry.family === family && entry.object === object);
      return { ...OK, stdout: JSON.stringify(entries.map((entry) => describe(entry))) };
    }
    if (this.#options.privileged === false) return failure("RTNETLINK answers: Operation not permitted");
    if (family === "-6" && this.#options.ipv6 === false) {
      return failure("Error: IPv6 is disabled on nexthop device.");
    }
    const entry: FakeEntry = { family, object, words: rest };
    const index = this.#entries.findIndex((other) =>
      JSON.stringify(identity(other)) === JSON.stringify(identity(entry))
    );
    if (verb === "add") {
      if (index >= 0) return failure("RTNETLINK answers: File exists");
      this.#entries.push(entry);
    } else {
      if (index < 0) return failure("RTNETLINK answers: No such file or directory");
      this.#entries.splice(index, 1);
    }
    return OK;
  }

  #links(): unknown[] {
    const addresses = this.#options.ipv6 === false
      ? [{ family: "inet" }]
      : [{ family: "inet" }, { family: "inet6" }];
    const others = (this.#options.interfaces ?? []).map((ifname) => ({
      ifname,
      flags: ["UP"],
      addr_info: this.#options.unnumbered?.includes(ifname) ? [] : addresses,
    }));
    return [{ ifname: "lo", flags: ["LOOPBACK", "UP"], addr_info: addresses }, ...others];
  }
}

/** A table holds one route to a destination; rules differ by any of their words. */
function identity(entry: FakeEntry): unknown {
  if (entry.object === "rule") return [entry.family, entry.object, ...entry.words.map(normal)];
  return [entry.family, entry.object, wordAfter(entry, "table"), entry.words.includes("default")];
}

function normal(word: string): string {
  return word.split("/").map((part) => part !== "" && !Number.isNaN(Number(part)) ? `${Number(part)}` : part)
    .join("/");
}

function wordAfter(entry: FakeEntry, key: string): string | undefined {
  const index = entry.words.indexOf(key);
  return index < 0 ? undefined : entry.words[index + 1];
}

/** As `ip -N -d -j` prints it. */
function describe(entry: FakeEntry): Record<string, unknown> {
  if (entry.object === "route") {
    return { type: "2", dst: "default", dev: wordAfter(entry, "dev"), table: wordAfter(entry, "table") };
  }
  const [fwmark, fwmask] = wordAfter(entry, "fwmark")?.split("/") ?? [];
  return {
    priority: Number(wordAfter(entry, "pref")),
    fwmark,
    fwmask,
    iif: wordAfter(entry, "iif"),
    table: wordAfter(entry, "lookup"),
    protocol: wordAfter(entry, "protocol"),
  };
}

/** A pretended program that reads lines. */
export class FakeSession implements ExecSession {
  readonly ended: Promise<string>;
  readonly #ended = Promise.withResolvers<string>();
  readonly #execute: (line: string, session: FakeSession) => ExecResult;
  readonly #release: (session: FakeSession) => void;
  #isOpen = true;

  constructor(
    execute: (line: string, session: FakeSession) => ExecResult,
    release: (session: FakeSession) => void,
  ) {
    this.#execute = execute;
    this.#release = release;
    this.ended = this.#ended.promise;
  }

  exchange(line: string): Promise<Reply> {
    const results = this.#isOpen ? line.split("\n").map((part) => this.#execute(part, this)) : [];
    return Promise.resolve({
      stdout: results.map((result) => result.stdout).join(""),
      stderr: results.map((result) => result.stderr).join(""),
    });
  }

  /** As kill(1) ends a process. */
  kill(): void {
    this.#end("SIGKILL");
  }

  close(): Promise<void> {
    this.#end("exit code 0");
    return Promise.resolve();
  }

  #end(how: string): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#release(this);
    this.#ended.resolve(how);
  }
}
