import { assertEquals } from "../tests/assert.ts";
import { SUCCESSOR_CODE } from "./backend.ts";
import { HostExec } from "./exec.ts";
import { FakeExec } from "./fake_exec.ts";
import { NftBackend } from "./nft_backend.ts";

const OWN = "4711/8123456";

/** Runs the script with an nft that lists `listing`, or fails to. */
async function remove(listing: string | undefined): Promise<{ code: number; deleted: string }> {
  const options = { tableName: "pellucid", hold: "plain", by: OWN, sysctls: [], afterwards: "true" } as const;
  const script = new NftBackend({ exec: new FakeExec(), ...options }).removeScript();
  const folder = await Deno.makeTempDir();
  try {
    const nft = `#!/bin/sh
case " $* " in
  *" list "*) ${listing === undefined ? "exit 1" : `cat "${folder}/listing"`} ;;
  *) echo "$*" >>"${folder}/deleted" ;;
esac
`;
    await Deno.writeTextFile(`${folder}/nft`, nft, { mode: 0o755 });
    await Deno.writeTextFile(`${folder}/listing`, listing ?? "");
    const { code } = await new HostExec(["env", `PATH=${folder}:${Deno.env.get("PATH")}`]).run([
      "sh",
      "-c",
      script,
    ]);
    return { code, deleted: await Deno.readTextFile(`${folder}/deleted`).catch(() => "") };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("NftBackend.removeScript: what cannot be read has not been removed", async () => {
  const table = (by: string) =>
    `table inet pellucid {\n\tchain state {\n\t\tcomment "intercept 0123456789abcdef by ${by}"\n\t}\n}\n`;
  assertEquals(await remove(undefined), { code: 1, deleted: "" });
  assertEquals(await remove(""), { code: 0, deleted: "" });
  assertEquals(await remove(table(OWN)), { code: 0, deleted: "delete table inet pellucid\n" });
  assertEquals(await remove(table("1/2")), { code: SUCCESSOR_CODE, deleted: "" });
});
