/**
 * How a process of our own is started: the proxy on show, and the programs at both ends of its connections.
 *
 * A compiled binary has no Deno beside it and no source files on disk, so everything that the demo runs is a command
 * of this very program.
 *
 * @module
 */

/** The command that runs this program with `args`, in any directory and without a network. */
export function ourselves(...args: string[]): string[] {
  if (Deno.build.standalone) return [Deno.execPath(), ...args];
  const program = new URL("../mod.ts", import.meta.url).href;
  return [Deno.execPath(), "run", "-A", "--cached-only", program, ...args];
}
