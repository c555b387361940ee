import { runCases } from '../conformance/case.ts';
import { HOST_PORT } from '../conformance/host-port.ts';
import { REFERENCES, TARTANS } from '../conformance/openings.ts';

runCases([...REFERENCES, ...TARTANS], HOST_PORT);
