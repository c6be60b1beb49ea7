import { assert, assertEquals } from "../tests/assert.ts";
import { HostExec } from "./exec.ts";
import { isLiving, ownProcess } from "./living_process.ts";

/** Says the name of a child that ends with its first second, and becomes a program that never waits for it. */
const NEGLIGENT = 'sleep 1 & echo "$!/$(sed "s/.*) //" "/proc/$!/stat" | cut -d " " -f 20)"; exec sleep 10';

Deno.test("isLiving: this process, and no other of its number", async () => {
  const exec = new HostExec();
  assertEquals(await isLiving(ownProcess(), exec), true);
  assertEquals(await isLiving(`${Deno.pid}/1`, exec), false);
});

Deno.test("isLiving: a process that has ended and that nobody waits for does not live", async () => {
  const exec = new HostExec();
  const parent = exec.open(["sh", "-c", NEGLIGENT]);
  try {
    const { stdout } = await parent.exchange("", ({ stdout }) => stdout.includes("\n"));
    const name = stdout.trim();
    assertEquals(await isLiving(name, exec), true);
    const [pid] = name.split("/");
    const isZombie = async () => /^State:\s+Z/m.test(await Deno.readTextFile(`/proc/${pid}/status`));
    for (let attempt = 0; attempt < 30 && !await isZombie(); attempt++) {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert(await isZombie(), "it is still to be seen");
    assertEquals(await isLiving(name, exec), false);
  } finally {
    await parent.close();
  }
});
