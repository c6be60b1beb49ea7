import { assertEquals } from "../tests/assert.ts";
import { SUCCESSOR_CODE } from "./backend.ts";
import { HostExec } from "./exec.ts";
import { FakeExec } from "./fake_exec.ts";
import { Watchdog } from "./watchdog.ts";

/** What is started for these scripts. */
async function commandFor(removal: string, afterwards: string): Promise<readonly string[]> {
  let command: readonly string[] = [];
  const exec = new class extends FakeExec {
    override open(argv: readonly string[]) {
      command = argv;
      return super.open(argv);
    }
  }();
  await (await Watchdog.open(exec, removal, afterwards)).close();
  return command;
}

/** Runs it until it ends by itself; its input ends after `input`. */
async function watch(removal: string, input: string): Promise<{ code: number; log: string }> {
  const folder = await Deno.makeTempDir();
  try {
    const argv = await commandFor(`cd ${folder}; echo tried >>log; ${removal}`, `echo after >>${folder}/log`);
    const { code } = await new HostExec().run(argv, { stdin: input });
    return { code, log: await Deno.readTextFile(`${folder}/log`).catch(() => "") };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("Watchdog: a removal that fails is tried again until it succeeds", async () => {
  const thirdTime = '[ "$(wc -l <log)" -ge 3 ]';
  assertEquals(await watch(thirdTime, "ready\n"), { code: 0, log: "tried\ntried\ntried\nafter\n" });
});

Deno.test("Watchdog: not where the rules are a successor's, and not after it was told that all is done", async () => {
  for (const end of [`exit ${SUCCESSOR_CODE}`, `(exit ${SUCCESSOR_CODE})`]) {
    assertEquals(await watch(end, "ready\n"), { code: 1, log: "tried\n" });
  }
  assertEquals(await watch("true", "ready\ndone\n"), { code: 0, log: "" });
});

Deno.test("Watchdog: signals to all of a process's children do not end it", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const argv = await commandFor("true", `echo after >${folder}/log`);
    const script = `{
      echo ready; sleep 0.5
      for signal in HUP INT QUIT TERM USR1 USR2 PIPE ALRM; do kill -$signal "$(cat ${folder}/pid)"; done
    } | sh -c 'echo $$ >${folder}/pid; exec "$@"' sh "$@"`;
    assertEquals((await new HostExec().run(["sh", "-c", script, "sh", ...argv])).code, 0);
    assertEquals(await Deno.readTextFile(`${folder}/log`), "after\n");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
