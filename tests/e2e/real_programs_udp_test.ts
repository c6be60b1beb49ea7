/**
 * Real programs do not notice: what each of them is told through the proxy is what it is told over plain forwarding,
 * with `run --from lan0` taking over all TCP and UDP, for both kinds of source and in every family that it knows.
 */
import { assertEquals } from "../assert.ts";
import { gatewayLab, labTest } from "../lab/mod.ts";
import { ProxyRun } from "./proxy_run.ts";
import { KNOT } from "./real_dns.ts";
import { SAUERBRATEN } from "./real_game.ts";
import { IPERF3 } from "./real_iperf3.ts";
import { CHRONYD } from "./real_ntp.ts";
import { missingPrograms, missingRemark } from "./real_program.ts";
import { DNSMASQ_TFTP } from "./real_tftp.ts";
import { ProgramInUse } from "./real_use.ts";

for (const program of [KNOT, DNSMASQ_TFTP, CHRONYD, IPERF3, SAUERBRATEN]) {
  const missing = missingPrograms(program.needs);
  labTest(`${program.name} and its clients notice nothing${missingRemark(missing)}`, async (context) => {
    await using lab = await gatewayLab();
    await using use = await ProgramInUse.start(program, lab);
    await context.step("plain forwarding", (step) => use.everyClient(step));
    for (const source of ["own", "keep"]) {
      await context.step(`--source ${source}`, async (step) => {
        const flags = ["--from", "lan0", "--source", source, "--flows"];
        await using proxy = await ProxyRun.start(lab.host("gateway"), flags);
        await use.everyClient(step);
        await proxy.stopByForce();
        use.assertIntercepted(proxy.logged("flow"));
        assertEquals(proxy.logged("warning"), []);
      });
    }
  }, { ignore: missing.length > 0, timeoutMs: 180_000 });
}
