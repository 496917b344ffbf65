//! Looking at this machine and its network.

use warp_reach_core::{Diagnosis, Report};

use super::*;

#[test]
fn one_look_at_a_time_signed_in_or_not() {
    let mut machine = machine();
    machine.on_command(NOW, Command::Diagnose);
    assert_eq!(drain(&mut machine), [Effect::Diagnose]);
    machine.on_command(NOW, Command::Diagnose);
    let effects = drain(&mut machine);
    assert!(
        matches!(&effects[..], [Effect::Emit(Event::Problem { problem })] if problem.code == ProblemCode::BadCommand),
        "{effects:?}"
    );
    let diagnosis = Box::new(Diagnosis::new(Vec::new(), Report::default()));
    let found = Outcome::Diagnosed {
        diagnosis: diagnosis.clone(),
        export: "{}".into(),
    };
    machine.on_outcome(NOW, found);
    let told = Event::Diagnosed {
        diagnosis,
        export: "{}".into(),
    };
    assert_eq!(drain(&mut machine), [Effect::Emit(told)]);
    machine.on_command(NOW, Command::Diagnose);
    assert_eq!(drain(&mut machine), [Effect::Diagnose]);
}
