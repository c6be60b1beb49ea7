/**
 * A process is found again by the name that rules have for it, also from outside its process namespace.
 *
 * @module
 */
import { HostExec } from "../../nft/exec.ts";
import { isLiving } from "../../nft/living_process.ts";
import { assertEquals, assertMatch } from "../assert.ts";
import { labTest } from "../lab/mod.ts";

/** Says its own name as living_process.ts has it, and waits for the end of its input. */
const NAMED = 'echo "$$/$(sed "s/.*) //" /proc/$$/stat | cut -d " " -f 20)"; cat';

labTest("living process: seen in a container from the host, and gone when it has ended", async () => {
  const exec = new HostExec();
  const container = exec.open(["unshare", "-Urpf", "--kill-child", "--mount-proc", "sh", "-c", NAMED]);
  const { stdout } = await container.exchange("", ({ stdout }) => stdout.includes("\n"));
  const name = stdout.split("\n")[0]!;
  try {
    assertMatch(name, /^1\/\d+$/);
    assertEquals(await isLiving(name, exec), true);
    assertEquals(await isLiving(`${name}0`, exec), false, "another one of that number");
  } finally {
    await container.close();
  }
  assertEquals(await isLiving(name, exec), false);
});
