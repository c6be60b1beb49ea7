/**
 * A host whose programs are not as they should be: missing, or wrapped in a script of the test's.
 *
 * @module
 */
import { labPath } from "../lab/requirements.ts";

/**
 * What is put before a command so that it, and what it starts, finds no such program. The folders that hold the
 * program are covered, in a mount namespace of the command's own, by folders of links to all else that is in them: the
 * product looks into the usual folders whatever PATH says.
 */
export function withoutProgram(program: string): string[] {
  const script = `set -eu
    hide=$1; shift
    base=$(mktemp -d); trap 'rm -rf "$base"' EXIT
    mount -t tmpfs tmpfs "$base"
    for folder in /usr/local/sbin /usr/local/bin /usr/sbin /usr/bin /sbin /bin; do
      [ -e "$folder/$hide" ] && [ ! -L "$folder" ] || continue
      id=$(echo "$folder" | tr / _)
      mkdir "$base/real$id" "$base/shown$id"
      mount --bind "$folder" "$base/real$id"
      ln -s "$base/real$id"/* "$base/shown$id"
      rm "$base/shown$id/$hide"
      covers="\${covers:-} $folder=$base/shown$id"
    done
    for cover in $covers; do mount --bind "\${cover#*=}" "\${cover%%=*}"; done
    exec "$@"`;
  return ["unshare", "--mount", "sh", "-c", script, "sh", program];
}

/** Scripts in a temporary folder that comes first in PATH. `await using` removes it. */
export class ToolFolder implements AsyncDisposable {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  static async create(): Promise<ToolFolder> {
    return new ToolFolder(await Deno.makeTempDir({ prefix: "pellucid-tools-" }));
  }

  /** For the process that is to find the scripts. */
  get env(): Record<string, string> {
    return { PATH: `${this.path}:${labPath()}` };
  }

  /** Puts a shell script in the place of a program: `$REAL` is the real one, `$FOLDER` this folder. */
  async wrap(program: string, script: string): Promise<void> {
    const text = `#!/bin/sh\nREAL=${findProgram(program)}\nFOLDER=${this.path}\n${script}\n`;
    await Deno.writeTextFile(`${this.path}/${program}`, text, { mode: 0o755 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path, { recursive: true });
  }
}

function findProgram(program: string): string {
  for (const folder of labPath().split(":")) {
    const path = `${folder}/${program}`;
    try {
      if (Deno.statSync(path).isFile) return path;
    } catch (error) {
      // Not there, or in a folder of somebody else's that is in PATH all the same, as `su` leaves it.
      const { NotFound, NotADirectory, PermissionDenied } = Deno.errors;
      const isElsewhere = [NotFound, NotADirectory, PermissionDenied].some((kind) => error instanceof kind);
      if (!isElsewhere) throw error;
    }
  }
  throw new Error(`${program}: not found in ${labPath()}`);
}
