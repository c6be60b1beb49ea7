import { assert, assertEquals } from "../tests/assert.ts";
import { COMMAND_KILLED, COMMAND_MISSING, HostExec } from "./exec.ts";

/** A process that nothing of ours can end: in a session of its own it holds what it was given. */
const HOLDS_OUR_PIPES = "setsid sleep 6 & echo told; wait";

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

Deno.test("exec: what a command says and how it ends", async () => {
  const exec = new HostExec();
  assertEquals(await exec.run(["sh", "-c", "cat; echo no >&2; exit 3"], { stdin: "ja\n" }), {
    code: 3,
    stdout: "ja\n",
    stderr: "no\n",
  });
  const missing = { code: COMMAND_MISSING, stdout: "", stderr: "no-such-program: not found" };
  assertEquals(await exec.run(["no-such-program"]), missing);
});

Deno.test("exec: a command that ends before it has read its input is no failure", async () => {
  assertEquals((await new HostExec().run(["true"], { stdin: "x".repeat(1 << 20) })).code, 0);
});

Deno.test("exec: a command that takes too long ends with all that it started", async () => {
  const result = await new HostExec().run(["sh", "-c", "sleep 6 & echo $!; wait; true"], { timeoutMs: 300 });
  assertEquals(result.code, COMMAND_KILLED);
  // By then it is gone, or a zombie whose reaper is slow.
  const status = await Deno.readTextFile(`/proc/${result.stdout.trim()}/status`).catch(() => "");
  assert(!/^State:\s+[SRD]/m.test(status), status);
});

Deno.test("exec: a process that keeps a command's output open does not keep us", async () => {
  const exec = new HostExec();
  const command = ["sh", "-c", HOLDS_OUR_PIPES];
  assert(await timed(() => exec.run(command, { timeoutMs: 300 })) < 2_000);
  const input = { stdin: "x".repeat(1 << 20), timeoutMs: 300 };
  assert(await timed(() => exec.run(command, input)) < 2_000);
  // A session and a watch are given 2 s to end by themselves.
  const session = exec.open(command);
  const watch = exec.watch(command, () => {});
  assert(await timed(() => Promise.all([session.close(), watch.close()])) < 4_500);
});

Deno.test("exec: a session that does not read what it is told does not keep us", async () => {
  const session = new HostExec().open(["sleep", "6"]);
  const line = "x".repeat(1 << 20);
  assert(await timed(() => session.exchange(line, () => false, 300)) < 1_000);
  assert(await timed(() => session.close()) < 3_000);
  assertEquals(await session.ended, "SIGKILL");
});

Deno.test("exec: a watch ends with its command, whoever else has its output", async () => {
  const lines: string[] = [];
  const watch = new HostExec().watch(
    ["sh", "-c", "setsid sleep 6 & echo told; exit 5"],
    (line) => lines.push(line),
  );
  let how = "";
  assert(await timed(async () => how = await watch.ended) < 2_000);
  assertEquals([how, lines], ["exit code 5", ["told"]]);
});

Deno.test("exec: a command leads a session and a process group", async () => {
  const script = "read -r pid name state parent group session rest </proc/$$/stat; echo $pid $group $session";
  const { stdout } = await new HostExec().run(["sh", "-c", script]);
  const [pid, group, session] = stdout.trim().split(" ");
  assertEquals([group, session], [pid, pid]);
  assert(pid !== undefined && pid !== `${Deno.pid}`, stdout);
});

Deno.test("exec: knows what it has started, and what that has started", async () => {
  const exec = new HostExec();
  const { stdout } = await exec.run(["sh", "-c", "echo $$"]);
  assert(exec.hasStarted(Number(stdout)), "a child that has ended");
  const session = exec.open(["sh", "-c", 'sh -c "echo \\$\\$; cat"; :']);
  const reply = await session.exchange("", ({ stdout }) => stdout.includes("\n"));
  assert(exec.hasStarted(Number(reply.stdout.trim())), "a child's child that runs");
  await session.close();
  assert(!exec.hasStarted(Deno.pid) && !exec.hasStarted(Deno.ppid));
  assert(!new HostExec().hasStarted(Number(stdout)));
});
