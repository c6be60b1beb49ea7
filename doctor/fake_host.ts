/**
 * A {@linkcode Host} in memory: files and what programs print. What is not there is absent, as on a real one.
 *
 * @module
 */
import { COMMAND_MISSING, type ExecResult } from "../nft/exec.ts";
import type { Host } from "./host.ts";
import { PROBES } from "./probes.ts";

/** What the pretended host is like. */
export interface FakeHostOptions {
  /** By path. */
  readonly files?: Readonly<Record<string, string>>;
  /** Symbolic links by path. */
  readonly symlinks?: Readonly<Record<string, string>>;
  /** What a command prints, by its words; or how it fails. */
  readonly commands?: Readonly<Record<string, string | ExecResult>>;
  /** Ids of probes that fail. */
  readonly lacks?: readonly string[];
}

/** A host that does not exist. */
export class FakeHost implements Host {
  readonly #options: FakeHostOptions;
  /** Every command that was run. */
  readonly ran: string[] = [];

  constructor(options: FakeHostOptions) {
    this.#options = options;
  }

  readFile(path: string): string | undefined {
    return this.#options.files?.[path];
  }

  listFolder(path: string): readonly string[] {
    const { files = {}, symlinks = {} } = this.#options;
    const below = [...Object.keys(files), ...Object.keys(symlinks)].filter((one) =>
      one.startsWith(`${path}/`)
    );
    return [...new Set(below.map((one) => one.slice(path.length + 1).split("/")[0]!))];
  }

  readLink(path: string): string | undefined {
    return this.#options.symlinks?.[path];
  }

  run(argv: readonly string[]): Promise<ExecResult> {
    const words = argv.join(" ");
    this.ran.push(argv[0] === "unshare" ? argv.slice(0, 2).join(" ") : words);
    return Promise.resolve(argv[0] === "unshare" ? this.#probe() : this.#answer(words));
  }

  #answer(words: string): ExecResult {
    const found = this.#options.commands?.[words];
    if (found === undefined) {
      return { code: COMMAND_MISSING, stdout: "", stderr: `${words.split(" ")[0]}: not found` };
    }
    return typeof found === "string" ? { code: 0, stdout: found, stderr: "" } : found;
  }

  #probe(): ExecResult {
    const lines = PROBES.flatMap(({ id }) =>
      this.#options.lacks?.includes(id) === true ? [`@${id} 1`, "Error: not here"] : [`@${id} 0`, ""]
    );
    return { code: 0, stdout: ["@ready", ...lines, ""].join("\n"), stderr: "" };
  }
}
