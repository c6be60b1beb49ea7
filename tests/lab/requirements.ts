/**
 * Whether this machine lets us build a lab, and what to do when it does not.
 *
 * A lab that cannot start fails the run loudly. With ALLOW_NO_LAB=1 in the environment the tests that need one are
 * skipped instead, and the run says so.
 *
 * @module
 */
import { within } from "./deadline.ts";

/** The arguments of unshare(1) under which every lab lives. */
export const UNSHARE_ARGS: readonly string[] = ["-Urnmpf", "--kill-child", "--mount-proc"];

const TOOLS = {
  unshare: "util-linux",
  nsenter: "util-linux",
  mount: "mount",
  ip: "iproute2",
  env: "coreutils",
} as const;

/** PATH for everything the lab starts: an ordinary user's often lacks the directories where ip and nft live. */
export function labPath(): string {
  return `${Deno.env.get("PATH") ?? "/usr/local/bin:/usr/bin:/bin"}:/usr/sbin:/sbin`;
}

/** No lab can be built here. The message says what is missing and how to mend it. */
export class LabUnavailableError extends Error {
  override readonly name = "LabUnavailableError";

  /** `detail` is what the attempt printed; `findings` are what {@linkcode diagnose} says of it. */
  constructor(message: string, readonly detail: string, readonly findings: readonly string[]) {
    super(message);
  }
}

/** Compares the machine with what a lab needs; the findings are sentences for the reader of a failed run. */
export function diagnose(): string[] {
  const findings: string[] = [];
  for (const [tool, debianPackage] of Object.entries(TOOLS)) {
    if (!isInPath(tool)) findings.push(`${tool} is not in PATH: install ${debianPackage}`);
  }
  const settings: [path: string, blocks: (value: number) => boolean, cure: string][] = [
    ["user/max_user_namespaces", (value) => value === 0, "sysctl user.max_user_namespaces=15000"],
    ["user/max_net_namespaces", (value) => value === 0, "sysctl user.max_net_namespaces=15000"],
    ["kernel/unprivileged_userns_clone", (value) => value === 0, "sysctl kernel.unprivileged_userns_clone=1"],
    [
      "kernel/apparmor_restrict_unprivileged_userns",
      (value) => value !== 0,
      "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or run as root",
    ],
  ];
  for (const [path, blocks, cure] of settings) {
    const value = readNumber(`/proc/sys/${path}`);
    if (value !== undefined && blocks(value)) findings.push(`${path.replace("/", ".")} is ${value}: ${cure}`);
  }
  if (readNumber("/proc/sys/net/ipv6/conf/default/accept_dad") === undefined) {
    findings.push("the kernel runs without IPv6: boot it without ipv6.disable=1");
  }
  if (findings.length === 0) {
    findings.push(
      "no setting known to prevent it was found; inside a container, allow it to create user namespaces and to " +
        "mount proc (docker: --privileged, or --security-opt seccomp=unconfined --security-opt systempaths=unconfined)",
    );
  }
  return findings;
}

/** The error for a lab that did not start. `detail` is what the attempt printed. */
export function labUnavailable(detail: string): LabUnavailableError {
  const findings = diagnose();
  const printed = detail.trim() || "no output";
  return new LabUnavailableError(
    `a lab of network namespaces cannot be built here: ${printed}` +
      findings.map((finding) => `\n  - ${finding}`).join("") +
      "\n  (ALLOW_NO_LAB=1 skips the tests that need one)",
    printed,
    findings,
  );
}

/**
 * Registers a test that needs a lab. The lab itself is started in `body`, with the topology it wants.
 *
 * `timeoutMs` (default 60 s) fails a test that hangs.
 */
export function labTest(
  name: string,
  body: (context: Deno.TestContext) => Promise<void>,
  options: { readonly timeoutMs?: number; readonly ignore?: boolean } = {},
): void {
  const skip = Deno.env.get("ALLOW_NO_LAB") === "1" && !canStart();
  if (skip) {
    console.error(`skipped, because no lab can be built here and ALLOW_NO_LAB=1 allows that: ${name}`);
  }
  Deno.test({
    name,
    ignore: skip || options.ignore === true,
    fn: (context) => within(body(context), options.timeoutMs ?? 60_000, name),
  });
}

let startable: boolean | undefined;

function canStart(): boolean {
  startable ??= tryStart();
  return startable;
}

function tryStart(): boolean {
  const script = "mount -n -t tmpfs tmpfs /run && ip netns add probe";
  const probe = new Deno.Command("timeout", {
    args: ["10", "unshare", ...UNSHARE_ARGS, "sh", "-c", script],
    env: { PATH: labPath() },
    stdin: "null",
    stdout: "null",
    stderr: "null",
  });
  try {
    return probe.outputSync().success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

function isInPath(tool: string): boolean {
  return labPath().split(":").some((directory) => {
    try {
      return Deno.statSync(`${directory}/${tool}`).isFile;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return false;
      if (error instanceof Deno.errors.PermissionDenied) return false;
      throw error;
    }
  });
}

function readNumber(path: string): number | undefined {
  try {
    return Number(Deno.readTextFileSync(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
