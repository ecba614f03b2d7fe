use crate::bed::{Bed, new_agent};
use kruxos_types::{AgentName, Principal};

#[tokio::test]
async fn a_principal_keeps_its_number_and_nobody_else_gets_it() {
    let bed = Bed::new();
    let number = async |principal: Principal| bed.store.box_number(&principal).await.unwrap();
    let first = number(Principal::agent("a")).await;
    assert!(first >= 1);
    let second = number(Principal::user("a")).await;
    assert_ne!(first, second);
    assert_eq!(number(Principal::agent("a")).await, first);

    bed.store.create_agent(new_agent("a", 1)).await.unwrap();
    let name = AgentName::new("a").unwrap();
    bed.store.delete_agent(&name).await.unwrap();
    assert_eq!(number(Principal::agent("a")).await, first);
    let third = number(Principal::agent("b")).await;
    assert!(![first, second].contains(&third));
}
