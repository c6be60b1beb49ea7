/**
 * The one seam between the doctor and the host: files that are read and programs that are asked. Nothing here writes
 * to the host; what has to be tried is tried in a network namespace made for it (probes.ts).
 *
 * @module
 */
import { type ExecResult, HostExec } from "../nft/exec.ts";

/** What the doctor asks of a host. A question that has no answer is a value, never an exception. */
export interface Host {
  /** The text of a file; undefined when there is none, or it may not be read. */
  readFile(path: string): string | undefined;
  /** Names in a folder; none when there is no such folder, or it may not be read. */
  listFolder(path: string): readonly string[];
  /** What a symbolic link points to. */
  readLink(path: string): string | undefined;
  /** Runs a program that changes nothing. */
  run(argv: readonly string[], timeoutMs?: number): Promise<ExecResult>;
}

/** Runs a program and returns what it printed; remembers that `what` is not known when it fails. */
export type Ask = (what: string, argv: readonly string[]) => Promise<string>;

/** This host, as this process sees it. */
export class RealHost implements Host {
  readonly #exec = new HostExec();

  readFile(path: string): string | undefined {
    return orUndefined(() => Deno.readTextFileSync(path));
  }

  listFolder(path: string): readonly string[] {
    return orUndefined(() => [...Deno.readDirSync(path)].map(({ name }) => name)) ?? [];
  }

  readLink(path: string): string | undefined {
    return orUndefined(() => Deno.readLinkSync(path));
  }

  run(argv: readonly string[], timeoutMs?: number): Promise<ExecResult> {
    return this.#exec.run(argv, timeoutMs === undefined ? {} : { timeoutMs });
  }
}

/** /proc answers in many ways for what is gone, hidden or of a part of the kernel that is not there. */
function orUndefined<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof Error && ("code" in error || error instanceof Deno.errors.NotCapable)) {
      return undefined;
    }
    throw error;
  }
}
