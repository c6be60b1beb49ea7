import { assertEquals } from "../tests/assert.ts";
import { COMMAND_MISSING, type Exec, type ExecResult } from "./exec.ts";
import { readPacketHost } from "./packet_host.ts";

const LINKS = [
  { ifname: "lo", addr_info: [{ family: "inet", local: "127.0.0.1", prefixlen: 8 }] },
  { ifname: "eth0", addr_info: [{ family: "inet6", local: "2001:db8::1", prefixlen: 64 }, {}] },
  { ifname: "eth1" },
];

function answering(answers: Readonly<Record<string, string>>): Exec {
  const run = ([program = ""]: readonly string[]): Promise<ExecResult> => {
    const stdout = answers[program];
    return Promise.resolve({
      code: stdout === undefined ? COMMAND_MISSING : 0,
      stdout: stdout ?? "",
      stderr: "",
    });
  };
  const unasked = () => {
    throw new Error("not asked for");
  };
  return { run, open: unasked, watch: unasked };
}

Deno.test("readPacketHost: addresses with their lengths, and whether IPv6 is forwarded", async () => {
  assertEquals(await readPacketHost(answering({ ip: JSON.stringify(LINKS), cat: "1\n" }), "up"), {
    addresses: ["127.0.0.1/8", "2001:db8::1/64"],
    forwards: true,
    proxy: "up",
  });
  assertEquals(await readPacketHost(answering({}), "down"), {
    addresses: [],
    forwards: false,
    proxy: "down",
  });
});
