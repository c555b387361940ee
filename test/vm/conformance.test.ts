/** Every conformance case of ours in one file, one agent per wiring, for the virtual machine: twins.ts picks some. */
import { ATTACHMENT } from '../conformance/attachment.ts';
import { runCases } from '../conformance/case.ts';
import { HOST_PORT } from '../conformance/host-port.ts';
import { TARTANS } from '../conformance/openings.ts';
import { PROTOCOL } from '../conformance/protocol.ts';

runCases(TARTANS, [...HOST_PORT, ...PROTOCOL, ...ATTACHMENT]);
