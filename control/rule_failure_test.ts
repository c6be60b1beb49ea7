import { buildPlan, DEFAULT_KERNEL_NUMBERS, detectHost, type InterceptIntent } from "../nft/mod.ts";
import { FakeExec } from "../nft/fake_exec.ts";
import { assertInstanceOf, assertStringIncludes, assertThrows } from "../tests/assert.ts";
import { requireHost } from "./rule_failure.ts";
import { StartError } from "./start_error.ts";

const INTENT: InterceptIntent = {
  tcp: "tproxy",
  udp: "tproxy",
  udpPorts: [],
  udpWorkers: 2,
  from: ["lan0"],
  local: false,
  port: 7870,
  source: "own",
  otherInterfaces: [],
  ...DEFAULT_KERNEL_NUMBERS,
};

Deno.test("requireHost: what the kernel lacks, and the flags that do without it", async () => {
  const cases = [
    ["tproxy to", "kernel-without-tproxy", '"tproxy"', "--tcp redirect --udp off"],
    ["notrack", "rules-failed", '"ct, notrack"', "--udp off works without"],
    ["jhash", "rules-failed", '"jhash"', "--workers 1 or --udp off works without"],
  ] as const;
  for (const [word, code, lacking, wayOut] of cases) {
    const host = await detectHost(new FakeExec({ interfaces: ["lan0"], lacks: [word] }));
    const error = assertThrows(() => requireHost(buildPlan(INTENT), host, "nft"));
    assertInstanceOf(error, StartError);
    assertStringIncludes(
      `${error.code}: ${error.message}`,
      `${code}: host: the kernel or nft lacks ${lacking}`,
    );
    assertStringIncludes(error.hint, wayOut);
  }
});
