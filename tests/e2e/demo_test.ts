/**
 * The demo, as a newcomer meets it: all of it right; what it says where it cannot be shown, or where something is
 * wrong; and that an interrupted one leaves nothing.
 */
import { assert, assertEquals, assertLess, assertLessOrEqual, assertStringIncludes } from "../assert.ts";
import { labTest } from "../lab/mod.ts";
import { ToolFolder } from "./tool_folder.ts";

const MAIN = new URL("../../mod.ts", import.meta.url).href;
const CONNECTIONS = rows("curl", "bulk", "refused");
const EXCHANGES = rows("dig", "game", "cone", "9000 B");
const CHECKS = 39;

function rows(...names: string[]): string[] {
  return names.flatMap((name) => [`${name} v4`, `${name} v6`]);
}

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function command(program: string, args: readonly string[], env: Record<string, string> = {}): Deno.Command {
  return new Deno.Command(program, {
    args: [...args],
    cwd: "/",
    env,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    signal: AbortSignal.timeout(45_000),
  });
}

async function demo(
  options: { env?: Record<string, string>; before?: readonly string[] } = {},
): Promise<Outcome> {
  const [program, ...args] = [...options.before ?? [], Deno.execPath(), "run", "-A", MAIN, "demo"];
  const { code, stdout, stderr } = await command(program!, args, options.env).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

labTest("demo: every row right, in plain text of at most 110 columns, in less than 30 s", async () => {
  const startedAt = performance.now();
  const { code, stdout, stderr } = await demo();
  assertLess(performance.now() - startedAt, 30_000);
  assertEquals([code, stderr], [0, ""], stdout);
  assert(!stdout.includes("\x1b"), "no colours where there is no terminal");
  const lines = stdout.trimEnd().split("\n");
  for (const line of lines) assertLessOrEqual(line.length, 110, line);
  assertEquals(lines.at(-1), `${CHECKS} of ${CHECKS} checks right`);
  assertEquals(lines.filter((line) => line.endsWith(" ok")).length, CHECKS);

  const starts: [flags: string, rows: string[]][] = [
    ["--from lan0", [...CONNECTIONS, ...EXCHANGES]],
    ["--source keep --from lan0", [...CONNECTIONS, ...EXCHANGES]],
    ["--tcp redirect --from lan0", CONNECTIONS],
  ];
  for (const [flags, rows] of starts) {
    const from = lines.findIndex((line) => line.startsWith(`  pellucid run ${flags}   (ready after `));
    assert(from > 0, flags);
    const to = lines.findIndex((line, index) => index > from && line.startsWith("stopped "));
    const told = lines.slice(from + 2, to)
      .filter((line) => !line.startsWith("  heard ") && !line.endsWith(" datagrams"));
    assertEquals(told.length, 2 * rows.length, flags);
    for (const [index, row] of rows.entries()) assertAgree(told[2 * index]!, told[2 * index + 1]!, row);
    const heard = lines.slice(from, to).filter((line) => line.startsWith("  heard "));
    assertEquals(
      heard.length,
      rows.filter((row) => /^(?:dig|game|cone) /.test(row)).length,
      heard.join("\n"),
    );
    assertStringIncludes(lines[to]!, "nft tables 1 -> 0");
  }
});

/** The line of the ends and the proxy's: the same but for label, rate, verdict, and the peer where nobody listens. */
function assertAgree(ends: string, proxy: string, row: string): void {
  assert(ends.startsWith(`${row} `), ends);
  assert(proxy.startsWith("  proxy "), proxy);
  const parts = (line: string) => line.slice(10).trim().split(/\s+/);
  const [client, arrow, destination, peer, amount, unit, ...rest] = parts(ends);
  const local = row.startsWith("refused") ? parts(proxy)[3] : peer;
  const datagrams = EXCHANGES.includes(row) ? rest.slice(0, -1) : [];
  assertEquals(parts(proxy), [client, arrow, destination, local, amount, unit, ...datagrams]);
  if (EXCHANGES.includes(row)) assertEquals(datagrams, ["1", "+", row.startsWith("cone") ? "2" : "1"]);
}

labTest("demo: rules that cannot be loaded are told, and the exit code is 1", async () => {
  await using tools = await ToolFolder.create();
  // All but the session that holds the rules.
  await tools.wrap("nft", `case " $* " in *" -i "*) exit 1;; esac; exec "$REAL" "$@"`);
  const { code, stdout, stderr } = await demo({ env: tools.env });
  assertEquals([code, stderr], [1, ""], stdout);
  assertStringIncludes(stdout, "the proxy did not start");
  assertStringIncludes(stdout, "FAILED");
  assertEquals(stdout.trimEnd().split("\n").at(-1), `2 of ${CHECKS} checks right`);
});

for (const [program, debianPackage] of [["curl", "curl"], ["dig", "dnsutils"]] as const) {
  labTest(`demo: a missing ${program} is named, with the package it is in`, async () => {
    await using tools = await ToolFolder.create();
    await tools.wrap(program, "exit 127");
    const { code, stderr } = await demo({ env: tools.env });
    assertEquals(code, 1);
    assertStringIncludes(stderr, `pellucid demo: ${program}: not found`);
    assertStringIncludes(stderr, `apt-get install ${debianPackage}`);
  });
}

labTest("demo: where namespaces are forbidden it says by what, and how to allow them", async () => {
  const forbid = [
    "unshare",
    "-Ur",
    "sh",
    "-c",
    'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"',
    "sh",
  ];
  const { code, stderr } = await demo({ before: forbid });
  assertEquals(code, 1);
  assertStringIncludes(stderr, "pellucid demo: network namespaces: cannot be made here");
  assertStringIncludes(stderr, "sysctl user.max_user_namespaces=15000");
});

labTest("demo: Ctrl-C leaves nothing running", async () => {
  await using child = command(Deno.execPath(), ["run", "-A", MAIN, "demo"]).spawn();
  const stderr = new Response(child.stderr).text();
  let text = "";
  let started: number[] = [];
  for await (const piece of child.stdout.pipeThrough(new TextDecoderStream())) {
    text += piece;
    if (started.length > 0 || !text.includes("ready after")) continue;
    started = await descendants(child.pid);
    child.kill("SIGINT");
  }
  assertEquals([(await child.status).signal, await stderr], ["SIGINT", ""]);
  assert(started.length > 5, `the demo's processes: ${started}`);
  const deadline = performance.now() + 15_000;
  let left = started;
  while (left.length > 0 && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    left = left.filter(isThere);
  }
  assertEquals(left, []);
});

async function descendants(pid: number): Promise<number[]> {
  let text = "";
  try {
    text = await Deno.readTextFile(`/proc/${pid}/task/${pid}/children`);
  } catch {
    // It has ended meanwhile.
  }
  const children = text.split(" ").filter((word) => word !== "").map(Number);
  return [...children, ...(await Promise.all(children.map(descendants))).flat()];
}

function isThere(pid: number): boolean {
  try {
    return Deno.statSync(`/proc/${pid}`).isDirectory;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
