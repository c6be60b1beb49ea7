/**
 * SIGHUP means two things: read the configuration again, and that the terminal is gone.
 */
import { assert, assertEquals } from "../assert.ts";
import { MAIN } from "./proxy_run.ts";

/** Without privileges; whoever started the tests may have SIGHUP ignored. */
function commandLine(port: number): string[] {
  const proxy = ["run", "--rules", "none", "--tcp", "redirect", "--udp", "off", "--port", `${port}`];
  return [
    "env",
    "--default-signal=HUP",
    Deno.execPath(),
    "run",
    "-A",
    "--cached-only",
    MAIN,
    ...proxy,
    "--log",
    "json",
  ];
}

function freePort(): number {
  using listener = Deno.listen({ port: 0 });
  return listener.addr.port;
}

interface LogLine {
  readonly event: string;
  readonly pid: number;
}

/** Reads a log that grows until there is such a line. */
async function logged(path: string, event: string): Promise<LogLine> {
  const deadline = performance.now() + 15_000;
  for (;;) {
    const lines = (await Deno.readTextFile(path)).split("\n").filter((line) => line.startsWith("{"));
    const found = lines.map((line): LogLine => JSON.parse(line)).find((line) => line.event === event);
    if (found !== undefined) return found;
    assert(performance.now() < deadline, `no ${event}: ${lines.join("\n")}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function withLog(test: (path: string) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempFile({ prefix: "pellucid-log-" });
  try {
    await test(path);
  } finally {
    await Deno.remove(path);
  }
}

Deno.test("hangup: by a signal alone it reads everything again, and runs on", () =>
  withLog(async (path) => {
    const script = 'exec "$@" 2>"$0"';
    const child = new Deno.Command("setsid", {
      args: ["sh", "-c", script, path, ...commandLine(freePort())],
      stdin: "null",
      stdout: "null",
      signal: AbortSignal.timeout(40_000),
    }).spawn();
    const { pid } = await logged(path, "ready");
    Deno.kill(pid, "SIGHUP");
    await logged(path, "reloaded");
    Deno.kill(pid, "SIGTERM");
    await logged(path, "stopped");
    assertEquals((await child.status).code, 0);
  }));

Deno.test("hangup: of the terminal that it was started from, it ends it", () =>
  withLog(async (path) => {
    const words = commandLine(freePort()).map((word) => `'${word}'`).join(" ");
    // A terminal for as long as script(1) lives.
    const terminal = new Deno.Command("script", {
      args: ["-q", "-c", `exec ${words} 2>'${path}'`, "/dev/null"],
      stdin: "piped",
      stdout: "null",
      stderr: "null",
      signal: AbortSignal.timeout(40_000),
    }).spawn();
    await logged(path, "ready");
    terminal.kill("SIGKILL");
    await terminal.status;
    await logged(path, "stopped");
    await terminal.stdin.close().catch(() => {});
  }));
