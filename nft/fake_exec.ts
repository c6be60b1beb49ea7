/**
 * An {@linkcode Exec} without a host: remembers tables, rules and routes as nft and `ip` would, as far as this
 * folder asks them. The cases in tests/kernel/nft_apply_cases.ts run on it and on the real thing.
 *
 * @module
 */
import type { Exec, ExecResult, ExecSession, Reply } from "./exec.ts";
import { COMMAND_MISSING } from "./exec.ts";
import { type FakeTable, listTable, parseScript } from "./fake_script.ts";

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

interface HeldTable extends FakeTable {
  readonly holder: FakeSession | undefined;
}

/** A rule or route: the words after `rule add` or `route add`. */
interface FakeEntry {
  readonly family: string;
  readonly object: string;
  readonly words: readonly string[];
}

const OK: ExecResult = { code: 0, stdout: "", stderr: "" };
const NOT_PERMITTED = failure("Error: Could not process rule: Operation not permitted");

function failure(stderr: string): ExecResult {
  return { code: 1, stdout: "", stderr: `${stderr}\n` };
}

/** A host that exists in memory alone. */
export class FakeExec implements Exec {
  readonly #options: FakeHostOptions;
  #tables = new Map<string, HeldTable>();
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

  open(_argv: readonly string[]): FakeSession {
    const session = new FakeSession(
      (line, holder) => this.#nftLine(line, holder),
      (holder) => this.#release(holder),
    );
    this.#sessions.push(session);
    return session;
  }

  #run(argv: readonly string[], stdin: string): ExecResult {
    const [program = "", ...words] = argv;
    if (this.#options.missing?.includes(program)) {
      return { code: COMMAND_MISSING, stdout: "", stderr: `${program}: not found` };
    }
    if (program === "nft") return this.#nft(words.filter((word) => word !== "-s" && word !== "-t"), stdin);
    // It tracks no flows, so there is none to forget.
    if (program === "conntrack") return failure("conntrack v1.4.7: 0 flow entries have been deleted.");
    return this.#ip(words);
  }

  #nft(words: readonly string[], stdin: string): ExecResult {
    const [verb, object, , name = "", chain = ""] = words;
    if (verb === "--version") return { ...OK, stdout: "nftables v1.0.6 (fake)\n" };
    if (verb === "--check") return this.#load(stdin, undefined, true);
    if (verb === "-f") return this.#load(stdin, undefined, false);
    if (verb === "list" && object === "tables") {
      return { ...OK, stdout: [...this.#tables.keys()].map((key) => `table inet ${key}\n`).join("") };
    }
    if (verb === "list" && object === "table") return this.#list(name);
    if (verb === "list" && object === "ruleset") {
      return { ...OK, stdout: [...this.#tables].map(([key, table]) => listTable(key, table)).join("") };
    }
    if (verb === "delete") return this.#load(`delete table inet ${name}`, undefined, false);
    if (verb === "flush" && object === "chain") {
      this.#tables.get(name)?.chains.get(chain)?.splice(1);
      return OK;
    }
    throw new Error(`fake nft: ${words.join(" ")}: not understood`);
  }

  #list(name: string): ExecResult {
    const table = this.#tables.get(name);
    if (table === undefined) return failure("Error: No such file or directory");
    return { ...OK, stdout: listTable(name, table) };
  }

  #nftLine(line: string, holder: FakeSession): ExecResult {
    const list = /^list table inet (\S+)$/.exec(line);
    return list === null ? this.#load(line, holder, false) : this.#list(list[1]!);
  }

  /** One transaction: all of it or nothing. */
  #load(text: string, holder: FakeSession | undefined, checkOnly: boolean): ExecResult {
    if (this.#options.privileged === false) return NOT_PERMITTED;
    const lacking = this.#options.lacks?.find((word) => text.includes(word));
    if (lacking !== undefined) {
      return failure(`Error: Could not process rule: ${lacking}: No such file or directory`);
    }
    const commands = parseScript(text);
    if (commands === undefined) return failure("Error: syntax error");
    const tables = new Map(this.#tables);
    for (const command of commands) {
      const present = tables.get(command.name);
      if (present !== undefined && present.flags === "owner" && present.holder !== holder) {
        return NOT_PERMITTED;
      }
      if (command.verb === "delete") {
        if (!tables.delete(command.name)) return failure("Error: No such file or directory");
      } else if (command.verb === "define") {
        tables.set(command.name, { ...command.table, holder });
      } else if (present?.flags === "owner") {
        return failure("Error: Could not process rule: Operation not supported");
      } else if (present === undefined) {
        tables.set(command.name, { flags: "", comment: "", chains: new Map(), holder });
      }
    }
    if (checkOnly) return OK;
    this.#tables = tables;
    // A table whose owner has gone already goes with it.
    if (holder === undefined) this.#release(undefined);
    return OK;
  }

  #release(holder: FakeSession | undefined): void {
    for (const [name, table] of this.#tables) {
      if (table.flags === "owner" && table.holder === holder) this.#tables.delete(name);
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

/** A pretended `nft -i`. */
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
