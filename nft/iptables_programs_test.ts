import { assertEquals, assertRejects } from "../tests/assert.ts";
import { COMMAND_MISSING, type Exec, type ExecResult } from "./exec.ts";
import { findIptables, findIptablesScript, type IptablesName } from "./iptables_programs.ts";
import { isRuleApplyError } from "./rule_apply_error.ts";

const NFT = "iptables v1.8.9 (nf_tables)\n";
const LEGACY = "iptables v1.8.9 (legacy)\n";
const OLD = "iptables v1.6.1\n";

/** Hosts by what each program says of its version, and the names that are then right. */
const HOSTS: readonly [Record<string, string>, Record<IptablesName, string | undefined>][] = [
  [{}, { "iptables": undefined, "iptables-legacy": undefined }],
  [{ "iptables": NFT }, { "iptables": "iptables", "iptables-legacy": undefined }],
  [{ "iptables": LEGACY }, { "iptables": undefined, "iptables-legacy": "iptables" }],
  [{ "iptables": OLD }, { "iptables": undefined, "iptables-legacy": "iptables" }],
  [
    { "iptables": NFT, "iptables-nft": NFT, "iptables-legacy": LEGACY },
    { "iptables": "iptables-nft", "iptables-legacy": "iptables-legacy" },
  ],
  [
    { "iptables": LEGACY, "iptables-nft": NFT },
    { "iptables": "iptables-nft", "iptables-legacy": "iptables" },
  ],
];

function hostWith(versions: Readonly<Record<string, string>>): Pick<Exec, "run"> {
  return {
    run([program]): Promise<ExecResult> {
      const stdout = versions[program!];
      return Promise.resolve({
        code: stdout === undefined ? COMMAND_MISSING : 0,
        stdout: stdout ?? "",
        stderr: "",
      });
    },
  };
}

Deno.test("findIptables: the program that says it is of that flavour, under whichever name", async () => {
  for (const [versions, names] of HOSTS) {
    for (const name of ["iptables", "iptables-legacy"] as const) {
      const expected = names[name];
      if (expected === undefined) {
        const error = await assertRejects(() => findIptables(name, hostWith(versions), "check"));
        assertEquals(isRuleApplyError(error, "check"), true, `${error}`);
        continue;
      }
      const programs = await findIptables(name, hostWith(versions), "check");
      assertEquals([programs.save(4), programs.restore(6)], [
        `${expected}-save`,
        `${expected.replace("ip", "ip6")}-restore`,
      ]);
    }
  }
});

Deno.test("findIptablesScript: a shell finds the same programs", async () => {
  for (const [versions, names] of HOSTS) {
    const directory = await Deno.makeTempDir();
    try {
      for (const [program, version] of Object.entries(versions)) {
        await Deno.writeTextFile(`${directory}/${program}`, `#!/bin/sh\necho '${version.trim()}'\n`, {
          mode: 0o755,
        });
      }
      for (const name of ["iptables", "iptables-legacy"] as const) {
        const script = [...findIptablesScript(name), 'echo "$iptables"'].join("\n");
        const { stdout } = await new Deno.Command("/bin/sh", {
          args: ["-c", script],
          env: { PATH: directory },
        }).output();
        assertEquals(
          new TextDecoder().decode(stdout).trim(),
          names[name] ?? "",
          `${name} of ${JSON.stringify(versions)}`,
        );
      }
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  }
});
