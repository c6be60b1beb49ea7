/**
 * The flags that say what is intercepted: those of `run` that the `rules` commands understand too.
 *
 * @module
 */
import { defaultRunConfig, type RunConfig } from "../config/mod.ts";
import { choice, type FlagValues, list, ports, toggle, whole } from "./flag.ts";

const defaults = defaultRunConfig();

/** What is intercepted and where it goes. */
export const INTERCEPTION_FLAGS = {
  tcp: choice(["tproxy", "redirect", "off"], defaults.tcp, "how TCP is intercepted; off: not at all"),
  udp: choice(["tproxy", "off"], defaults.udp, "how UDP is intercepted; off: not at all"),
  "udp-ports": ports(
    "intercept datagrams to these ports alone, for example 53,1000-2000; what a client sends to other ports " +
      "passes by, and is seen from elsewhere (TFTP, full cone)",
    "all",
  ),
  from: list("IFACE", "intercept what is forwarded from this interface; may be given again"),
  local: toggle("intercept what this host itself sends"),
  port: whole(
    defaults.port,
    "port of the listeners, on every address; for UDP the first worker's, the others have the next ones",
  ),
  workers: whole(defaults.workers, "data-plane threads", "number of CPUs, at most 4"),
  source: choice(
    ["own", "keep"],
    defaults.source,
    "source address towards destinations: this host's own, or keep the client's",
  ),
};

/** The configuration that these flags alone describe. */
export function interceptionConfig(values: FlagValues<typeof INTERCEPTION_FLAGS>): RunConfig {
  const { tcp, udp, from, local, port, workers, source } = values;
  const udpPorts = values["udp-ports"];
  return { ...defaultRunConfig(), tcp, udp, udpPorts, from, local, port, workers, source };
}
