import { runCases } from '../conformance/case.ts';
import { REFERENCES, TARTANS } from '../conformance/openings.ts';
import { PROTOCOL } from '../conformance/protocol.ts';

runCases([...REFERENCES, ...TARTANS], PROTOCOL);
