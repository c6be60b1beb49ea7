/**
 * NTP: chronyd as a server that takes its own clock for right, and chronyd as a client that asks once.
 *
 * @module
 */
import { assert, assertEquals } from "../assert.ts";
import type { LabHost } from "../lab/mod.ts";
import { BOTH_FAMILIES, type RealProgram } from "./real_program.ts";

/** Server and client have one clock; the rest is the way between them. */
const MAX_OFFSET_SECONDS = 0.1;

/** -x leaves the clock alone; -U and "root": neither asks for rights that the lab has not, nor gives up those it has. */
const CHRONYD_ARGS = ["-x", "-U", "-u", "root"];

/** A server at port 123. */
export const CHRONYD: RealProgram = {
  name: "chronyd",
  needs: { chronyd: "chrony" },
  async start(host, folder) {
    const lines = ["local stratum 3", "allow", "cmdport 0", "bindcmdaddress /", `pidfile ${folder}/pid`];
    await Deno.writeTextFile(`${folder}/conf`, lines.join("\n") + "\n");
    return host.spawn(["chronyd", "-d", ...CHRONYD_ARGS, "-f", `${folder}/conf`]);
  },
  listens: { proto: "udp", port: 123 },
  clients: [
    {
      name: "chronyd -Q",
      families: BOTH_FAMILIES,
      use: ask,
      flows: [{ proto: "udp", port: 123, bytesDown: 48 }],
    },
  ],
};

async function ask(host: LabHost, address: string, folder: string): Promise<string> {
  const directives = [`server ${address} iburst maxsamples 1`, "cmdport 0", `pidfile ${folder}/client-pid`];
  const { code, stderr } = await host.run(["chronyd", "-Q", "-t", "10", ...CHRONYD_ARGS, ...directives]);
  assertEquals(code, 0, stderr);
  const offset = Number(/System clock wrong by (-?[\d.]+) seconds/.exec(stderr)?.[1]);
  assert(Math.abs(offset) < MAX_OFFSET_SECONDS, `no offset within ${MAX_OFFSET_SECONDS} s:\n${stderr}`);
  return "the clock is right";
}
