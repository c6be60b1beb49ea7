/**
 * Connections of a pod's programs: which ones the sidecar takes, and what becomes of those that lead back to the pod.
 */
import { DEFAULT_KERNEL_NUMBERS } from "../../nft/intent.ts";
import { assertEquals } from "../assert.ts";
import { labTest } from "../lab/mod.ts";
import {
  BOTH_FAMILIES,
  endpoint,
  exchange,
  EXCHANGED,
  type Flow,
  hostOf,
  NODE,
  OUTSIDE,
  POD,
  SidecarSite,
} from "./sidecar_site.ts";

/** Addresses of a service whose only program is in the pod itself. */
const SERVICE = { v4: "203.0.113.80", v6: "2001:db8:113::80" } as const;
const SERVICE_PORT = 80;

/** Who was to be reached by whom, on which side. */
function named(flows: readonly Flow[]): string[] {
  return flows.map(({ direction, client, destination }) => `${direction} ${hostOf(client)} ${destination}`)
    .sort();
}

/** What a node does for a service: another destination, and its own address as the source. */
function serviceTable(
  hook: "prerouting" | "output",
  priority: number,
  port: number,
  masquerade: boolean,
): string {
  return `table inet service {
  chain to { type nat hook ${hook} priority ${priority};
    ip daddr ${SERVICE.v4} tcp dport ${SERVICE_PORT} dnat ip to ${POD.v4}:${port}
    ip6 daddr ${SERVICE.v6} tcp dport ${SERVICE_PORT} dnat ip6 to [${POD.v6}]:${port}
  }
  ${masquerade ? "chain from { type nat hook postrouting priority 100; ct status dnat masquerade; }" : ""}
}`;
}

/** Gives a program's connections to the service's port the mark of our outbound side. */
function markedAsOurs(port: number): string {
  const { reply } = DEFAULT_KERNEL_NUMBERS.marks;
  return `table inet marker {
  chain out { type filter hook output priority -160; meta mark 0 tcp dport ${port} meta mark set ${reply}; }
}`;
}

labTest("sidecar: what the pod's programs open is taken, and seen from the pod", async () => {
  await using site = await SidecarSite.start();
  const echo = await site.outside.serve({ kind: "echo" });
  const proxy = await site.run([]);
  for (const family of BOTH_FAMILIES) {
    const client = await exchange(site.pod, OUTSIDE[family], echo.port);
    assertEquals(client.peer, endpoint(OUTSIDE[family], echo.port));
    assertEquals(hostOf((await echo.nextOpened()).peer), POD[family]);
  }
  const { tcpFinished, tcpRefusedLoop } = await proxy.stopByForce();
  assertEquals([tcpFinished, tcpRefusedLoop], [2, 0]);
  assertEquals(
    named(site.flows()),
    BOTH_FAMILIES.map((family) => `outbound ${POD[family]} ${endpoint(OUTSIDE[family], echo.port)}`).sort(),
  );
  assertEquals(site.flows().map(({ bytesUp, bytesDown }) => [bytesUp, bytesDown]), [
    [EXCHANGED, EXCHANGED],
    [EXCHANGED, EXCHANGED],
  ]);
});

labTest("sidecar: programs that talk among themselves are left alone, by whichever address", async () => {
  await using site = await SidecarSite.start();
  const echo = await site.pod.serve({ kind: "echo" });
  for (const inbound of ["redirect", "tproxy"]) {
    const proxy = await site.run(["--inbound", inbound]);
    for (const address of ["127.0.0.1", "::1", POD.v4, POD.v6]) await exchange(site.pod, address, echo.port);
    assertEquals((await proxy.stopByForce()).tcpAccepted, 0);
  }
});

labTest(
  "sidecar: excluded addresses, ports and interfaces are left alone; included ports are not",
  async () => {
    await using site = await SidecarSite.start();
    const [echo, other] = await Promise.all([1, 2].map(() => site.outside.serve({ kind: "echo" })));
    const all = BOTH_FAMILIES.flatMap((family) =>
      [echo!, other!].map(({ port }) => [OUTSIDE[family], port] as const)
    );
    const taken: [flags: string[], destinations: (readonly [string, number])[]][] = [
      [["--exclude-cidr", `${OUTSIDE.v4}/32,${OUTSIDE.v6}/128`], []],
      [["--exclude-cidr", `${OUTSIDE.v4}/32`], all.slice(2)],
      [["--exclude-tcp-ports", `${other!.port}`], all.filter(([, port]) => port === echo!.port)],
      [["--exclude-interface", "eth0"], []],
      [
        ["--include-cidr", "192.0.2.128/25", "--outbound-ports", `${echo!.port}`],
        all.filter(([, port]) => port === echo!.port),
      ],
      [["--tcp", "off"], []],
    ];
    for (const [flags, destinations] of taken) {
      const proxy = await site.run(flags);
      for (const [address, port] of all) await exchange(site.pod, address, port);
      await proxy.stopByForce();
      assertEquals(
        proxy.logged("flow").map(({ destination }) => destination).sort(),
        destinations.map(([address, port]) => endpoint(address, port)).sort(),
        flags.join(" "),
      );
    }
  },
);

for (const inbound of ["redirect", "tproxy"]) {
  labTest(
    `sidecar, inbound ${inbound}: a program that calls its own service by way of the node`,
    async () => {
      await using site = await SidecarSite.start();
      const echo = await site.pod.serve({ kind: "echo" });
      await site.node.output(["nft", "-f", "-"], {
        stdin: serviceTable("prerouting", -100, echo.port, true),
      });
      const proxy = await site.run(["--inbound", inbound]);
      for (const family of BOTH_FAMILIES) await exchange(site.pod, SERVICE[family], SERVICE_PORT);
      assertEquals((await proxy.stopByForce()).tcpFinished, 4);
      const wanted = BOTH_FAMILIES.flatMap((family) => [
        `inbound ${NODE[family]} ${endpoint(POD[family], echo.port)}`,
        `outbound ${POD[family]} ${endpoint(SERVICE[family], SERVICE_PORT)}`,
      ]);
      assertEquals(named(site.flows()), wanted.sort());
    },
  );

  labTest(
    `sidecar, inbound ${inbound}: our own connection to an address of the pod comes in again`,
    async () => {
      await using site = await SidecarSite.start();
      const echo = await site.pod.serve({ kind: "echo" });
      const proxy = await site.run(["--inbound", inbound]);
      // A service whose address the pod itself has, as under a load balancer that does not rewrite.
      for (const family of BOTH_FAMILIES) {
        const bits = family === "v4" ? 32 : 128;
        await site.pod.output(["ip", "address", "add", `${SERVICE[family]}/${bits}`, "dev", "lo"]);
      }
      await site.pod.output(["nft", "-f", "-"], { stdin: markedAsOurs(echo.port) });
      for (const family of BOTH_FAMILIES) await exchange(site.pod, SERVICE[family], echo.port);
      const { tcpFinished, tcpRefusedLoop } = await proxy.stopByForce();
      assertEquals([tcpFinished, tcpRefusedLoop], [2, 0]);
      assertEquals(
        named(site.flows()),
        BOTH_FAMILIES.map((family) => `inbound ${SERVICE[family]} ${endpoint(SERVICE[family], echo.port)}`)
          .sort(),
      );
    },
  );

  labTest(
    `sidecar, inbound ${inbound}: the pod's own table for services does not get in the way`,
    async () => {
      await using site = await SidecarSite.start();
      const echo = await site.pod.serve({ kind: "echo" });
      for (const priority of [-110, -90]) {
        await site.pod.output(["nft", "-f", "-"], {
          stdin: serviceTable("output", priority, echo.port, false),
        });
        const proxy = await site.run(["--inbound", inbound]);
        for (const family of BOTH_FAMILIES) await exchange(site.pod, SERVICE[family], SERVICE_PORT);
        const { tcpRefusedLoop, tcpDialFailed } = await proxy.stopByForce();
        assertEquals([tcpRefusedLoop, tcpDialFailed], [0, 0]);
        await site.pod.output(["nft", "delete table inet service"]);
      }
    },
  );
}
