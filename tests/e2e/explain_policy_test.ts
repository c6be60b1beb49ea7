/**
 * `explain` with a policy: what it says of rules that the kernel decides is what the kernel does, by each backend, and
 * it says where the rest goes without asking anybody for the servers' names.
 */
import { BACKENDS } from "../../nft/mod.ts";
import { assert, assertEquals, assertStringIncludes } from "../assert.ts";
import { GATEWAY_LAB, gatewayLab, type LabHost, labTest } from "../lab/mod.ts";
import { MAIN } from "./proxy_run.ts";

const { client, servers } = GATEWAY_LAB;

const POLICY = `
mode = "gateway"
[intercept]
from = "lan0"
[upstream.far]
kind = "socks5"
# Nobody is there to resolve it.
server = "proxy.invalid:1080"
[[rule]]
destination = "${servers.v4}"
destination-port = 8000
use = "far"
[[rule]]
interface = "lan*"
destination = ["198.51.100.0/24", "${servers.v6}"]
use = "direct"
[[rule]]
network = "udp"
use = "block"
[policy]
default = "far"
`;

interface Explained {
  readonly verdict: "pass" | { readonly taken: readonly number[] };
  readonly decidedBy: { readonly chain: string };
  readonly routing: {
    readonly flow: { readonly rule: number | null; readonly to: string; readonly isPushedDown: boolean };
  };
  readonly live: { readonly agrees: boolean; readonly text: readonly string[] };
}

async function explained(host: LabHost, ...args: string[]): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "pellucid-explain-" });
  try {
    const file = `${folder}/gateway.toml`;
    await Deno.writeTextFile(file, POLICY);
    const command = [Deno.execPath(), "run", "-A", "--cached-only", MAIN, "explain", ...args];
    return await host.output([...command, "--in", "lan0", "--config", file]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Destination, protocol; and what decides, where it goes, and whether the kernel lets it pass. */
const CASES: readonly [string, "tcp" | "udp", number | null, string, boolean][] = [
  [`${servers.v4}:443`, "tcp", 2, "direct", true],
  [`${servers.v4}:443`, "udp", 2, "direct", true],
  [`[${servers.v6}]:443`, "tcp", 2, "direct", true],
  [`${servers.v4}:8000`, "tcp", 1, "far", false],
  [`${servers.v4b}:443`, "tcp", null, "far", false],
  [`${servers.v4b}:443`, "udp", 3, "block", false],
];

for (const backend of BACKENDS) {
  labTest(`explain --config --live: ${backend}: the kernel decides what it is said to decide`, async () => {
    await using lab = await gatewayLab();
    const gateway = lab.host("gateway");
    for (const [destination, protocol, rule, to, isPushedDown] of CASES) {
      const source = destination.startsWith("[") ? client.v6 : client.v4;
      const packet = [source, destination, protocol, "--live", "--json", "--rules", backend];
      const { verdict, decidedBy, routing: { flow }, live }: Explained = JSON.parse(
        await explained(gateway, ...packet),
      );
      const what = `${protocol} ${destination}`;
      assert(live.agrees, `${what}: ${live.text.join("\n")}`);
      assertEquals([flow.rule, flow.to, flow.isPushedDown], [rule, to, isPushedDown], what);
      assertEquals(verdict === "pass", isPushedDown, what);
      assertEquals(decidedBy.chain, isPushedDown ? `${protocol}_in_pass` : decidedBy.chain);
    }
  });
}

labTest("explain --config: the line of the rule, and the interface by its name", async () => {
  await using lab = await gatewayLab();
  const text = await explained(lab.host("gateway"), client.v4, `${servers.v4}:443`, "tcp");
  assertStringIncludes(text, "/gateway.toml:13) decides: destination 198.51.100.10 is in 198.51.100.0/24, ");
  assertStringIncludes(text, "incoming interface is lan0\n");
  assertStringIncludes(text, "rule 1: there, far is another way than direct: the kernel sends it here");
});
