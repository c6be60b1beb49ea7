/**
 * Programs that people use, over TCP by an upstream: curl, dig and iperf3, in both families, by a server that is reached
 * in either.
 *
 * @module
 */
import { assert, assertEquals } from "../assert.ts";
import { GATEWAY_LAB, type LabServer } from "../lab/mod.ts";
import { KNOT } from "./real_dns.ts";
import { IPERF3_TCP } from "./real_iperf3.ts";
import { BOTH_FAMILIES, overTcp } from "./real_program.ts";
import { ProgramInUse } from "./real_use.ts";
import { assertLeftBy, fetchAll, type UpstreamSite } from "./upstream_site.ts";

const { servers } = GATEWAY_LAB;

/** As `missingPrograms` wants it. */
export const TCP_PROGRAM_NEEDS = { ...KNOT.needs, ...IPERF3_TCP.needs, curl: "curl" };

/** An upstream, and what is to be seen of it. */
export interface UsedUpstream {
  readonly name: string;
  /** The configuration's tables, with its server at an address of the internet host. */
  readonly tables: (server: string) => string;
  /** Where a destination sees connections come from, by its family. */
  readonly seenAs: Readonly<Record<"v4" | "v6", string>>;
  /** What must not be in the log. */
  readonly secret: string;
}

/** The tables' lines that log in, the password in a file of the site's folder. */
export async function loginLines(
  { folder }: UpstreamSite,
  { username, password }: { readonly username: string; readonly password: string },
): Promise<string> {
  await Deno.writeTextFile(`${folder}/password`, `${password}\n`, { mode: 0o600 });
  return `username = "${username}"\npassword-file = "password"`;
}

/** Runs all of them, with the proxy started anew for each family of the server. */
export async function useTcpPrograms(
  context: Deno.TestContext,
  site: UpstreamSite,
  web: LabServer,
  { name, tables, seenAs, secret }: UsedUpstream,
): Promise<void> {
  await using dns = await ProgramInUse.start(overTcp(KNOT), site.lab);
  await using iperf3 = await ProgramInUse.start(IPERF3_TCP, site.lab);
  for (const family of BOTH_FAMILIES) {
    await context.step(`the server is reached over IP${family}`, async (step) => {
      const proxy = await site.run(tables(family === "v4" ? servers.v4b : servers.v6b));
      for (const to of BOTH_FAMILIES) {
        await step.step(`curl, ${to}`, async () => {
          assertEquals(await fetchAll(site, servers[to], web.port), seenAs[to]);
        });
      }
      await dns.everyClient(step);
      await iperf3.everyClient(step);
      await proxy.stop();
      const flows = proxy.logged("flow");
      dns.assertIntercepted(flows);
      iperf3.assertIntercepted(flows);
      assertLeftBy(flows, name);
      assertEquals(proxy.logged("warning"), []);
      assert(!proxy.process.stderr.text().includes(secret), "the password is in the log");
    });
  }
}
