/**
 * The programs in C that a benchmark needs: builds them into bench/native/build/ when a source is newer.
 *
 * @module
 */

const SOURCES = new URL("native/", import.meta.url);
const BUILD = new URL("build/", SOURCES);

const PROGRAM = ["program.c", "program.h"];
const HISTOGRAM = ["load_histogram.c", "load_histogram.h"];

const PROGRAMS = {
  /** The reference relay for TCP. */
  relay: ["relay.c", ...PROGRAM],
  /** The reference relay for UDP. */
  udp_relay: ["udp_relay.c", "address.h", ...PROGRAM],
  /** The load generator for TCP, without which there is no benchmark. */
  load: [
    ...[
      "load.c",
      "load_bulk.c",
      "load_requests.c",
      "load_serve.c",
      "load_socks.c",
      "load_verify.c",
      "load.h",
    ],
    ...HISTOGRAM,
    ...PROGRAM,
  ],
  /** The load generator for UDP. */
  udp_load: [
    ...["udp_load.c", "udp_load_flood.c", "udp_load_latency.c", "udp_load_sessions.c", "udp_load_verify.c"],
    ...["udp_load.h", "address.h"],
    ...HISTOGRAM,
    ...PROGRAM,
  ],
  /** Counts the round trips of a handshake. */
  round_trips: ["round_trips.c", ...PROGRAM],
  /** Lets nginx work in TPROXY mode. */
  listen_transparent: ["listen_transparent.c"],
} as const;

/** Paths of the built programs. */
export type NativePrograms = Readonly<Record<keyof typeof PROGRAMS, string>>;

/** A program in C could not be built. The message says what to install. */
export class NativeBuildError extends Error {
  override readonly name = "NativeBuildError";
}

/** @throws {NativeBuildError} when there is no compiler, or it fails. */
export async function buildNative(): Promise<NativePrograms> {
  await Deno.mkdir(BUILD, { recursive: true });
  const paths: Partial<Record<keyof typeof PROGRAMS, string>> = {};
  for (const [name, sources] of Object.entries(PROGRAMS) as [keyof typeof PROGRAMS, readonly string[]][]) {
    paths[name] = new URL(name, BUILD).pathname;
    if (await isStale(paths[name], sources)) await compile(paths[name], sources);
  }
  return paths as NativePrograms;
}

async function isStale(program: string, sources: readonly string[]): Promise<boolean> {
  try {
    const built = (await Deno.stat(program)).mtime!.getTime();
    const written = await Promise.all(sources.map((source) => Deno.stat(new URL(source, SOURCES))));
    return written.some((source) => source.mtime!.getTime() > built);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return true;
    throw error;
  }
}

async function compile(program: string, sources: readonly string[]): Promise<void> {
  const units = sources.filter((source) => source.endsWith(".c"));
  const args = ["-O2", "-std=gnu11", "-Wall", "-Wextra", "-o", program, ...units];
  let output: Deno.CommandOutput;
  try {
    output = await new Deno.Command("cc", { args, cwd: SOURCES }).output();
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new NativeBuildError(
      "no C compiler (cc): the load generator and the reference relay are written in C; " +
        "install gcc and libc6-dev (Debian: apt-get install gcc libc6-dev)",
    );
  }
  if (!output.success) {
    throw new NativeBuildError(`cc ${args.join(" ")}: exit ${output.code}\n${decode(output.stderr)}`);
  }
}

function decode(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
