/**
 * Which CPU does whose work.
 *
 * The relay gets a CPU of its own, the clients and servers another. With veth alone the kernel would handle what
 * arrives at the gateway on the CPU that sent it, which is the load's: half of the gateway's work would be done there,
 * and the load's CPU would be full before the relay's. Receive packet steering (RPS) gives the gateway's arrivals to
 * the relay's CPU. What the gateway sends arrives at the other hosts on the relay's CPU, as without steering. So
 * the relay's CPU does all that the gateway does and a part of what the others do, and is the one that is full.
 *
 * @module
 */

/** CPU lists as taskset(1) takes them. */
export interface CpuPlacement {
  readonly relay: string;
  readonly load: string;
  /** Whether arriving packets are steered too. */
  readonly steers: boolean;
}

/** Linux 6.4 has it in every network namespace; rps_cpus of a queue can be set by real root only. */
const DEFAULT_MASK = "net/core/rps_default_mask";

/**
 * @param text RELAY:LOAD; undefined: CPU 0 for the relay, 1 for the load
 * @param steers whether to steer packets where the kernel can
 * @throws {RangeError} when the text is not that
 */
export function parseCpuPlacement(text = "0:1", steers = true): CpuPlacement {
  const match = /^([\d,-]+):([\d,-]+)$/.exec(text);
  if (match === null) {
    throw new RangeError(`CPUs "${text}" found, RELAY:LOAD or none wanted, for example 0:1`);
  }
  const [, relay, load] = match as unknown as [string, string, string];
  for (const list of [relay, load]) parseCpuList(list);
  return { relay, load, steers: steers && canSteer() };
}

/** Settings for a host whose interfaces are yet to be made, so that packets for it arrive on `cpus`. */
export function steeringSysctls(placement: CpuPlacement | undefined, cpus: string): Record<string, string> {
  return placement?.steers === true ? { [DEFAULT_MASK]: cpuMask(cpus) } : {};
}

/** A sentence for the report. */
export function describePlacement(placement: CpuPlacement | undefined): string {
  if (placement === undefined) return "No process is bound to a CPU.";
  const { relay, load, steers } = placement;
  const packets = steers
    ? "what arrives at the gateway is handled on the relay's CPU"
    : "the kernel handles a packet's arrival on the CPU that sent it";
  return `Relays with one thread on CPU ${relay}, with more on ${relay},${load}; clients and servers on CPU ${load}; ` +
    `${packets}.`;
}

/** `0,2-3` → `d`. */
export function cpuMask(list: string): string {
  return parseCpuList(list).reduce((mask, cpu) => (mask | 1 << cpu) >>> 0, 0).toString(16);
}

/** `0,2-3` → 0, 2, 3. @throws {RangeError} when it is no list of CPUs below 32. */
export function parseCpuList(list: string): number[] {
  return list.split(",").flatMap((part) => {
    const match = /^(\d+)(?:-(\d+))?$/.exec(part);
    const first = Number(match?.[1]), last = Number(match?.[2] ?? first);
    if (match === null || last >= 32 || first > last) {
      throw new RangeError(`CPU list "${list}": numbers and ranges below 32 wanted, for example 0,2-3`);
    }
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
}

function canSteer(): boolean {
  try {
    return Deno.statSync(`/proc/sys/${DEFAULT_MASK}`).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
